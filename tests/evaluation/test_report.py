"""The summary holds every control, says which differences are real, and leaves nothing out silently."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceref.evaluation.cases import LeftOut
from faceref.evaluation.conditions import BLIND_CONDITIONS, Plan, reference_conditions
from faceref.evaluation.groups import Row
from faceref.evaluation.metrics import METRICS
from faceref.evaluation.report import markdown, write_summary
from faceref.evaluation.statistics import Estimate
from faceref.evaluation.summary import Subject, Table, summarise

PLAN = Plan(sets=("severe",), most=3, counts=(1,), seed=0, batch_size=1)
CONDITIONS = {model: reference_conditions(PLAN) for model in ("one", "two")}
SETTINGS = {"cases": 30, "identities": 10, "resolution": 64, "seed": 0, "sets": ["severe"], "models": {}}
IDENTITY = {"lq": 0.2, "none": 0.3, "zero": 0.31, "refs-1": 0.5, "refs-3": 0.6, "wrong-3": 0.1}


def make_rows(model: str, gain: float, rng: np.random.Generator) -> list[Row]:
    """30 photographs of 10 people, whose identity differs far more between photographs than between conditions."""
    difficulty = np.random.default_rng(9).normal(0, 0.3, 30)
    rows: list[Row] = []
    subjects = [("severe", "" if key == "lq" else model, key, value) for key, value in IDENTITY.items()]
    subjects += [("", "", "nearest-reference", 0.55), ("", model, "autoencoder", 0.9)]
    for set_name, subject_model, condition, identity in subjects:
        for i in range(30):
            values = {metric.key: float("nan") for metric in METRICS}
            values["identity_cosine"] = identity + gain + difficulty[i] + rng.normal(0, 0.02)
            row: Row = {"set": set_name, "model": subject_model, "condition": condition, "image": f"{i:02}.png"}
            row |= {"identity": str(i // 3), "group": "ab"[i % 2], "references": 2.0}
            rows.append(row | values)
    return rows


def of_all(mean: float, low: float = np.nan, high: float = np.nan) -> Estimate:
    return Estimate(mean, low, high, 30)


@pytest.fixture(scope="module")
def summary():
    rng = np.random.default_rng(0)
    controls = make_rows("one", 0.0, rng)
    second = [row for row in make_rows("two", 0.1, rng) if row["model"]]
    return summarise(
        Table(controls + second),
        PLAN,
        CONDITIONS,
        SETTINGS,
        left_out=[LeftOut("x.png", "it is missing")],
        notes=["a note"],
        not_measured={"LPIPS": "pip install it"},
        of_all={Subject("severe", "one", "none"): {"fid": of_all(12.3), "kernel": of_all(4.5, 4.1, 4.9)}},
    )


def test_the_table_holds_every_control_and_condition_of_every_model(summary):
    text = markdown(summary)
    for words in (
        "the LQ input itself",
        "the nearest reference shown as the result",
        "one: autoencoder's reconstruction of the truth",
        "one: no references",
        "one: 3 zero references",
        "one: 1 reference |",
        "two: 3 references |",
        "two: 3 references of a wrong person",
        "LPIPS: not measured: pip install it",
        "x.png: it is missing",
        "12.3 | 4.50 [4.10, 4.90] |",
    ):
        assert words in text, words


def test_all_that_the_results_of_a_model_depend_on_is_told(summary):
    sampled = {"weights": "0a1b", "steps": 1, "guidance": 1.5, "scheduler": "ddim"}
    drawn = {"crisp": 0.5, "dtype": "bfloat16", "backend": "openvino", "memory": "low"}
    models = {"plain": sampled, "drawn": sampled | drawn, "elsewhere": {"folder": "x"}}
    text = markdown(replace(summary, settings=SETTINGS | {"models": models}))
    assert "- plain: 1 steps of ddim, guidance 1.5, weights 0a1b\n" in text
    told = "1 steps of ddim, guidance 1.5, crisp 0.5, dtype bfloat16, backend openvino, memory low, weights 0a1b"
    assert f"- drawn: {told}\n" in text
    assert "- elsewhere: folder x\n" in text


def test_paired_differences_find_what_the_spread_of_photographs_hides(summary):
    difference = {(c.a, c.b): c.differences["identity_cosine"] for c in summary.comparisons}
    helped = difference["one: 3 references", "one: no references"]
    assert helped.mean == pytest.approx(0.3, abs=0.02)
    assert helped.excludes_zero
    assert not difference["one: 3 references", "the LQ input itself"].low < 0
    assert difference["one: 3 references of a wrong person", "one: no references"].high < 0
    assert difference["one: 3 references", "one: 1 reference"].mean == pytest.approx(0.1, abs=0.02)
    assert difference["two: no references", "one: no references"].mean == pytest.approx(0.1, abs=0.02)
    line = next(line for line in summary.lines if line.title == "one: no references")
    assert line.estimates["identity_cosine"].low < 0.3 - 0.05  # while its own interval is wide


def test_no_difference_is_called_real_where_there_is_none():
    rng = np.random.default_rng(1)
    same = [row | {"model": "two"} for row in make_rows("one", 0.0, rng) if row["model"]]
    rows = make_rows("one", 0.0, np.random.default_rng(2)) + same
    summary = summarise(Table(rows), PLAN, CONDITIONS, SETTINGS, [], [], {}, {})
    between = [c for c in summary.comparisons if c.a.startswith("two") and c.b.startswith("one")]
    assert len(between) == 5
    assert sum(c.differences["identity_cosine"].excludes_zero for c in between) <= 1


def test_a_blind_model_is_compared_with_its_stage_1_and_with_others_without_references_and_at_their_best():
    rows = make_rows("one", 0.0, np.random.default_rng(0))
    none = [row | {"model": "two"} for row in rows if row["condition"] == "none"]
    stage1 = [row | {"condition": "stage-1", "identity_cosine": float(row["identity_cosine"]) - 0.05} for row in none]
    conditions = {"one": CONDITIONS["one"], "two": BLIND_CONDITIONS}
    summary = summarise(Table(rows + none + stage1), PLAN, conditions, SETTINGS, [], [], {}, {})
    difference = {(c.a, c.b): c.differences["identity_cosine"].mean for c in summary.comparisons if "two" in c.a}
    assert difference == {
        ("two: no references", "the LQ input itself"): pytest.approx(0.1, abs=0.02),
        ("two: no references", "two: stage 1 alone"): pytest.approx(0.05),
        ("two: no references", "one: no references"): pytest.approx(0),
        ("two: no references", "one: 3 references"): pytest.approx(-0.3, abs=0.02),
    }


def test_groups_have_tables_of_their_own(summary):
    assert sorted(summary.groups) == ["a", "b"]
    counts = [line.estimates["identity_cosine"].count for line in summary.groups["a"]]
    assert set(counts) == {15}
    parts = markdown(summary).split("\n## ")
    of_a = next(part for part in parts if part.startswith("Group a\n"))
    for set_name in SETTINGS["sets"]:
        table = of_a.split(f"### {set_name}\n")[1].split("###")[0]
        assert table.count("| one: no references |") == 1


def test_the_files_are_valid_json_and_name_what_was_left_out(summary, tmp_path: Path):
    write_summary(summary, tmp_path)
    content = json.loads((tmp_path / "summary.json").read_text())
    line = next(line for line in content["lines"] if line["title"] == "one: 3 references")
    assert line["estimates"]["identity_cosine"]["count"] == 30
    assert content["bootstrap"]["drawn"] == "identities"
    assert (tmp_path / "left_out.csv").read_text().splitlines() == ["image,reason", "x.png,it is missing"]
