"""A summary as files and words: Markdown for people, JSON for programs, a few lines for the terminal."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from faceref.data.table import write_table
from faceref.evaluation.metrics import FOLDER_METRICS, IDENTITY, METRICS, Metric
from faceref.evaluation.statistics import COVERAGE, FEWEST, RESAMPLES, Estimate
from faceref.evaluation.summary import Comparison, Line, Summary
from faceref.files import write_atomically

NAMED_IN_SUMMARY = 20  # left-out photographs; all of them are in left_out.csv


def write_summary(summary: Summary, out: Path) -> None:
    """Write summary.json, summary.md and left_out.csv."""
    content = asdict(summary)
    content["bootstrap"] = {"resamples": RESAMPLES, "coverage": COVERAGE, "drawn": "identities"}
    numbers = json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"
    for name, text in (("summary.json", numbers), ("summary.md", markdown(summary))):
        with write_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    left_out = [{"image": item.name, "reason": item.reason} for item in summary.left_out]
    write_table(out / "left_out.csv", ("image", "reason"), left_out)


def markdown(summary: Summary) -> str:
    """The summary for people."""
    settings = summary.settings
    parts = ["# Evaluation", ""]
    parts.append(
        f"{settings['cases']} photographs of {settings['identities']} people at {settings['resolution']} px, seed "
        f"{settings['seed']}. Each cell: the mean over photographs [95 % interval, bootstrap over people]."
    )
    parts.append("")
    parts += [f"- {label}: {_described(of_one)}" for label, of_one in settings["models"].items()]
    parts += _markdown_tables(summary.lines, settings["sets"], "##")
    if summary.comparisons:
        parts += ["", "## Which differences are real", ""]
        few = "" if settings["identities"] >= FEWEST else f", which of fewer than {FEWEST} people says nothing"
        parts.append(
            f"Paired differences a - b on the same photographs; **bold** where the 95 % interval excludes 0{few}."
        )
        parts += ["", *_markdown_comparisons(summary.comparisons)]
    for group, lines in summary.groups.items():
        parts += ["", f"## Group {group}", *_markdown_tables(lines, settings["sets"], "###")]
    parts += ["", "## Notes", "", *(f"- {note}" for note in summary.notes)]
    parts += [f"- {name}: not measured: {why}." for name, why in summary.not_measured.items()]
    parts += ["", "## Left out", "", f"{remarks(summary)} (all: left_out.csv)."]
    parts += [f"- {item.name}: {item.reason}" for item in summary.left_out[:NAMED_IN_SUMMARY]]
    return "\n".join(parts) + "\n"


def _described(settings: dict) -> str:
    """What is measured, in words: a model by its sampling, others by what their results depend on."""
    if "steps" not in settings:
        return ", ".join(f"{key} {value}" for key, value in settings.items())
    others = {key: value for key, value in settings.items() if key not in ("steps", "scheduler", "weights")}
    told = "".join(f", {key} {value}" for key, value in others.items())
    return f"{settings['steps']} steps of {settings['scheduler']}{told}, weights {settings['weights']}"


def _markdown_tables(lines: Sequence[Line], sets: Sequence[str], level: str) -> list[str]:
    """A table for each set, under a heading of that level."""
    tables = {name: _markdown_table([line for line in lines if line.subject.set in ("", name)]) for name in sets}
    return [part for name, table in tables.items() for part in ("", f"{level} {name}", "", *table)]


def _markdown_table(lines: Sequence[Line]) -> list[str]:
    shown = [metric for metric in METRICS if any(metric.key in line.estimates for line in lines)]
    of_all = [metric for metric in FOLDER_METRICS if any(metric.key in line.of_all for line in lines)]
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    header = ["", "references", *(metric.title + arrows[metric.better] for metric in [*shown, *of_all])]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for line in lines:
        cells = [_cell(line.estimates.get(metric.key), metric) for metric in shown]
        cells += [_cell(line.of_all[m.key], m) if m.key in line.of_all else "" for m in of_all]
        rows.append([line.title, f"{line.references:.2g}", *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _markdown_comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    metrics = [m for m in METRICS if any(m.key in c.differences for c in comparisons)]
    rows = [["set", "a", "b", *(metric.title for metric in metrics)], ["---"] * 3 + ["---:"] * len(metrics)]
    for comparison in comparisons:
        cells = []
        for metric in metrics:
            estimate = comparison.differences.get(metric.key)
            cell = _cell(estimate, metric, signed=True)
            cells.append(f"**{cell}**" if estimate is not None and estimate.excludes_zero else cell)
        rows.append([comparison.set, comparison.a, comparison.b, *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]


def _cell(estimate: Estimate | None, metric: Metric, signed: bool = False) -> str:
    if estimate is None:
        return "n/a"
    number = f"{'+' if signed else ''}.{metric.decimals}f"
    if math.isnan(estimate.low):
        return format(estimate.mean, number)
    return f"{estimate.mean:{number}} [{estimate.low:{number}}, {estimate.high:{number}}]"


def remarks(summary: Summary) -> str:
    """How many remarks there are, and on how many photographs."""
    count, photographs = len(summary.left_out), len({item.name for item in summary.left_out})
    return f"{count} remark{'s' * (count != 1)} on {photographs} photograph{'s' * (photographs != 1)} left out"


def _without_nan(value: object) -> object:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def standing(summary: Summary) -> str:
    """Identity of every line, for the terminal."""
    lines = [
        f"{line.subject.set or 'any':9} {line.title:60} {_cell(line.estimates[IDENTITY.key], IDENTITY)}"
        for line in summary.lines
    ]
    return "\n".join([f"{IDENTITY.title}, mean [95 % interval]", *lines])
