"""`make bench` has a row for every number of steps and references that a model takes."""

import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench.py"


@pytest.mark.parametrize(
    ("family", "rows"),
    [
        ("tiny_model", [("0", "1"), ("0", "2"), ("2", "1"), ("2", "2")]),
        ("tiny_blind_model", [("0", "1"), ("0", "3")]),  # three steps are its own default
        ("tiny_model_with_blind", [("0", "1"), ("0", "3"), ("2", "1"), ("2", "2")]),  # without references it is timed
    ],
)
def test_models_of_both_families_are_timed(family, rows, request, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", str(request.getfixturevalue(family)), "--device", "cpu"])
    monkeypatch.setenv("COLUMNS", "200")
    main = runpy.run_path(str(BENCH))["main"]
    main.__globals__.update(STEPS=(1,), REFERENCES=(0, 2), REPETITIONS=1)
    main()
    cells = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[1].strip()) for row in cells] == rows
    assert all(float(row[5]) > 0 for row in cells)


def test_a_step_on_pixels_is_timed_beside_one_on_latents(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixel_space.py", str(tiny_model)])
    monkeypatch.setenv("COLUMNS", "200")
    runpy.run_path(str(BENCH.with_name("pixel_space.py")))["main"]()
    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [("latents", "16x16"), ("pixels", "64x64")]
    assert 0 < float(rows[0][3]) < float(rows[1][3])
