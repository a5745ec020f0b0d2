"""All cases measured, a few at a time, each remembered when it is, so that an interrupted evaluation goes on."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from faceref.data.table import write_table
from faceref.evaluation.cases import Case, CaseSet
from faceref.evaluation.conditions import Plan
from faceref.evaluation.families import MeasuredModel
from faceref.evaluation.groups import Row
from faceref.evaluation.measurement import COLUMNS, Instruments, Measurement
from faceref.evaluation.metrics import METRICS
from faceref.evaluation.product import Product
from faceref.evaluation.restorer import MeasuredRestorer
from faceref.journal import claim, fingerprint

JOURNAL, TABLE = "evaluation.jsonl", "per_image.csv"


def measure_cases(
    cases: CaseSet,
    chosen: Sequence[Case],
    restorers: Sequence[MeasuredRestorer],
    plan: Plan,
    instruments: Instruments,
    out: Path,
) -> list[Row]:
    """Restore and measure `chosen`; returns the rows of OUT/per_image.csv.

    Pictures go to OUT/pictures as 8-bit PNG, and it is these that are measured. Given again, it goes on where it was
    interrupted. Raises UsageError if OUT holds the results of another evaluation, OutputError.
    """
    with claim(out / JOURNAL, settings_of(cases, chosen, restorers, plan, instruments)) as journal:
        models = [one for one in restorers if isinstance(one, MeasuredModel)] if plan.product else []
        products = {model.label: Product(model) for model in models}
        left = [case for case in chosen if case.name not in journal.done]
        few = [left[i : i + plan.batch_size] for i in range(0, len(left), plan.batch_size)]
        try:
            for together in track(few, description="restoring and measuring", console=Console(stderr=True)):
                measurement = Measurement(together, cases, plan, instruments, out / "pictures")
                rows = measurement.measure(restorers, products)
                for case in together:
                    journal.record(case.name, [_written(row) for row in rows if row["image"] == case.name])
        finally:  # also when interrupted: the table then holds what there is
            table = [row for case in chosen for row in journal.done.get(case.name, [])]
            write_table(out / TABLE, COLUMNS, table)
    return read_rows(out / TABLE)


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


def settings_of(
    cases: CaseSet, chosen: Sequence[Case], restorers: Sequence[MeasuredRestorer], plan: Plan, instruments: Instruments
) -> dict:
    """Everything that the rows depend on."""
    recogniser = instruments.second_recogniser
    return {
        "models": {one.label: one.settings for one in restorers},
        "conditions": {one.label: [asdict(condition) for condition in one.conditions(plan)] for one in restorers},
        "device": name_device(instruments.device),
        "columns": list(COLUMNS),
        "resolution": instruments.describer.size,
        "sets": list(plan.sets),
        "seed": plan.seed,
        "cases": len(chosen),
        "identities": len({case.identity for case in chosen}),
        "left out": len(cases.left_out),
        "photographs": fingerprint([(c.name, [str(p) for p in c.references], str(c.lq), c.group) for c in chosen]),
        "centre": {
            "source": instruments.centre.source,
            "photographs": instruments.centre.photographs,
            "mean": fingerprint(instruments.centre.mean.tolist()),
        },
        "second recogniser": recogniser and type(recogniser).__name__,
        "learned metrics": instruments.learned is not None,
        "NIQE": instruments.naturalness is not None,
    }


def _written(row: Row) -> dict[str, str]:
    """A row as the table has it; nothing where a number is NaN."""
    return {key: value if isinstance(value, str) else _text(value) for key, value in row.items()}


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
