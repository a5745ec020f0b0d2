"""Evaluation: batch after batch, remembered row by row, so that an interrupted run continues."""

import csv
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.progress import track

from faceref.errors import OutputError, UsageError
from faceref.evaluation.batch import COLUMNS, Batch, Instruments
from faceref.evaluation.cases import Case, CaseSet
from faceref.evaluation.conditions import Plan
from faceref.evaluation.families import MeasuredModel
from faceref.evaluation.groups import Row
from faceref.evaluation.metrics import METRICS
from faceref.files import write_atomically


def evaluate(
    cases: CaseSet,
    chosen: Sequence[Case],
    models: Sequence[MeasuredModel],
    plan: Plan,
    instruments: Instruments,
    out: Path,
    *,
    resume: bool = False,
) -> list[Row]:
    """Restore and measure `chosen`; returns the rows of OUT/per_image.csv, all cases complete.

    Pictures go to OUT/pictures as 8-bit PNG, and it is these that are measured. An interrupted run continues with
    `resume` if nothing that matters has changed. Raises OutputError if OUT holds results and `resume` is not given,
    UsageError if it holds those of another evaluation.
    """
    table = out / "per_image.csv"
    _claim(out, table, _settings(cases, chosen, models, plan, instruments), resume)
    rows = _complete_rows(table, chosen, models, plan)
    _rewrite(table, rows)
    done = {row["image"] for row in rows}
    left = [case for case in chosen if case.name not in done]
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        batches = [left[i : i + plan.batch_size] for i in range(0, len(left), plan.batch_size)]
        for batch in track(batches, description="restoring and measuring"):
            new = Batch(batch, cases, plan, instruments, models[0].resolution, out / "pictures").measure(models)
            writer.writerows([{k: _text(v) for k, v in row.items()} for row in new])
            file.flush()
    return read_rows(table)


def read_rows(table: Path) -> list[Row]:
    """The rows of a per_image.csv; metrics as numbers, NaN where there is none."""
    numbers = {"ita", "references", *(metric.key for metric in METRICS)}
    with table.open(newline="", encoding="utf-8") as file:
        return [
            {key: (float(value) if value else math.nan) if key in numbers else value for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def name_device(device: torch.device) -> str:
    """What computes, as the seconds depend on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _settings(
    cases: CaseSet, chosen: Sequence[Case], models: Sequence[MeasuredModel], plan: Plan, instruments: Instruments
) -> dict:
    """Everything that the rows depend on."""
    recogniser = instruments.recogniser
    return {
        "models": {model.label: model.settings for model in models},
        "conditions": {model.label: [asdict(condition) for condition in model.conditions(plan)] for model in models},
        "device": name_device(models[0].device),
        "columns": list(COLUMNS),
        "resolution": models[0].resolution,
        "sets": list(plan.sets),
        "seed": plan.seed,
        "cases": len(chosen),
        "identities": len({case.identity for case in chosen}),
        "left out": len(cases.left_out),
        "photographs": _digest(repr([(case.name, case.references, case.lq, case.group) for case in chosen])),
        "centre": {
            "source": instruments.centre.source,
            "photographs": instruments.centre.photographs,
            "mean": _digest(repr(instruments.centre.mean.tolist())),
        },
        "second recogniser": recogniser and type(recogniser).__name__,
        "learned metrics": instruments.learned is not None,
    }


def _claim(out: Path, table: Path, settings: dict, resume: bool) -> None:
    path = out / "settings.json"
    if path.exists() and not resume:
        raise OutputError(f"{out} holds an evaluation; give --resume to continue it, or another folder.")
    if path.exists():
        before = json.loads(path.read_text())
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise UsageError(f"{out} holds an evaluation with other {', '.join(changed)}; give another folder.")
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n")
    table.touch()


def _complete_rows(
    table: Path, chosen: Sequence[Case], models: Sequence[MeasuredModel], plan: Plan
) -> list[dict[str, str]]:
    """Rows of an interrupted run that belong to completely measured cases."""
    expected = {(name, "", "lq") for name in plan.sets}
    expected |= {(name, m.label, c.key) for name in plan.sets for m in models for c in m.conditions(plan)}
    by_image: dict[str, list[dict[str, str]]] = {case.name: [] for case in chosen}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if None not in row.values():  # a line cut off in the middle
                by_image[row["image"]].append(row)
    measured = {name: {(row["set"], row["model"], row["condition"]) for row in rows} for name, rows in by_image.items()}
    return [row for name, rows in by_image.items() if expected <= measured[name] for row in rows]


def _rewrite(table: Path, rows: list[dict[str, str]]) -> None:
    with write_atomically(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
