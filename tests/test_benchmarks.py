"""Programs under benchmarks/ that need neither photographs nor hours print the tables that the documents name."""

import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_step_on_pixels_is_timed_beside_one_on_latents(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixel_space.py", str(tiny_model)])
    monkeypatch.setenv("COLUMNS", "200")
    runpy.run_path(str(BENCHMARKS / "pixel_space.py"))["main"]()
    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [("latents", "16x16"), ("pixels", "64x64")]
    assert 0 < float(rows[0][3]) < float(rows[1][3])
