"""All cases measured, a few at a time, each remembered when it is, so that an interrupted evaluation goes on."""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from faceref.data.table import write_table
from faceref.evaluation.cases import Case, CaseSet
from faceref.evaluation.conditions import Plan
from faceref.evaluation.families import MeasuredModel
from faceref.evaluation.groups import Row
from faceref.evaluation.learned import PYIQA
from faceref.evaluation.measurement import COLUMNS, Instruments, Measurement
from faceref.evaluation.metrics import METRICS
from faceref.evaluation.product import Product
from faceref.evaluation.restorer import MeasuredRestorer
from faceref.jobs import OnItem
from faceref.journal import Journal, claim, fingerprint
from faceref.models.loading import weights_fingerprint
from faceref.processes import from_all, from_main, share_of

JOURNAL, TABLE = "evaluation.jsonl", "per_image.csv"


def measure_cases(
    cases: CaseSet,
    chosen: Sequence[Case],
    restorers: Sequence[MeasuredRestorer],
    plan: Plan,
    instruments: Instruments,
    out: Path,
    on_case: OnItem = lambda *_: None,
) -> list[Row]:
    """Restore and measure `chosen`; returns the rows of OUT/per_image.csv.

    Pictures go to OUT/pictures as 8-bit PNG, and it is these that are measured. Given again, it goes on where it was
    interrupted. Of several processes each measures some of the batches, and the main one writes the table: the numbers
    are those of one. on_case: told in the main process how many are measured. Raises UsageError if OUT holds the
    results of another evaluation, OutputError.
    """
    settings = settings_of(cases, chosen, restorers, plan, instruments)
    with _journal_of_main(out / JOURNAL, settings) as (journal, done):
        models = [one for one in restorers if isinstance(one, MeasuredModel)] if plan.product else []
        products = {model.label: Product(model) for model in models}
        left = [case for case in chosen if case.name not in done]
        few = [left[i : i + plan.batch_size] for i in range(0, len(left), plan.batch_size)]
        try:
            for mine in share_of(few):
                rows: list[Row] = []
                for together in mine:
                    measurement = Measurement(together, cases, plan, instruments, out / "pictures")
                    rows += measurement.measure(restorers, products)
                every = [row for part in from_all(rows) for row in part]
                if journal is not None:
                    _record(journal, every)
                    on_case(len(journal.done), len(chosen))
        finally:  # also when interrupted: the table then holds what there is
            if journal is not None:
                table = [row for case in chosen for row in journal.done.get(case.name, [])]
                write_table(out / TABLE, COLUMNS, table)
    return from_main(lambda: read_rows(out / TABLE))


@contextmanager
def _journal_of_main(path: Path, settings: dict) -> Iterator[tuple[Journal | None, set[str]]]:
    """The journal, which the main process alone has, and what is done already."""
    with ExitStack() as stack:
        journals: list[Journal] = []

        def open_journal() -> set[str]:
            journals.append(stack.enter_context(claim(path, settings)))
            return set(journals[0].done)

        done = from_main(open_journal)
        yield (journals[0] if journals else None), done


def _record(journal: Journal, rows: Sequence[Row]) -> None:
    of_case: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        of_case.setdefault(str(row["image"]), []).append(_written(row))
    for name, written in of_case.items():
        journal.record(name, written)


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
    blind = {one.label: one.blind[1].settings() for one in restorers if isinstance(one, MeasuredModel) and one.blind}
    return {
        "version": version("faceref"),
        "models": {one.label: one.settings for one in restorers},
        "without references": (plan.product and blind) or None,
        "conditions": {one.label: [asdict(condition) for condition in one.conditions(plan)] for one in restorers},
        "device": name_device(instruments.device),
        "batch size": plan.batch_size,
        "columns": list(COLUMNS),
        "resolution": instruments.describer.size,
        "sets": list(plan.sets),
        "seed": plan.seed,
        "cases": len(chosen),
        "identities": len({case.identity for case in chosen}),
        "left out": len(cases.left_out),
        "photographs": fingerprint([(c.name, [str(p) for p in c.references], str(c.lq), c.group) for c in chosen]),
        "contents of photographs": cases.contents,
        "centre": {
            "source": instruments.centre.source,
            "photographs": instruments.centre.photographs,
            "mean": fingerprint(instruments.centre.mean.tolist()),
        },
        "second recogniser": recogniser and f"{type(recogniser).__name__} {weights_fingerprint(recogniser)}",
        "learned metrics": instruments.learned is not None and list(PYIQA),
        "NIQE": instruments.naturalness is not None,
    }


def _written(row: Row) -> dict[str, str]:
    """A row as the table has it; nothing where a number is NaN."""
    return {key: value if isinstance(value, str) else _text(value) for key, value in row.items()}


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
