"""From rows to what people read: the summary as Markdown and JSON, with intervals and paired comparisons."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from faceref.data.table import write_table
from faceref.evaluation.cases import LeftOut
from faceref.evaluation.conditions import NO_REFERENCES, STAGE_1, Conditions, Plan, best
from faceref.evaluation.groups import Row
from faceref.evaluation.metrics import FOLDER_METRICS, IDENTITY, METRICS, Metric
from faceref.evaluation.statistics import COVERAGE, RESAMPLES, Estimate, estimate_mean
from faceref.files import write_atomically

COMPARED = ("identity_cosine", "identity_distance", "feature_distance", "psnr", "ssim", "lpips")
NAMED_IN_SUMMARY = 20  # left-out photographs; all of them are in left_out.csv


@dataclass(frozen=True)
class Subject:
    """What a row of the table is about; model is "" for controls that need none, set "" where any gives the same."""

    set: str
    model: str
    condition: str


@dataclass(frozen=True)
class Line:
    """One line of the table: mean and interval of every metric, and how many references were shown on average.

    of_all: what is measured on all pictures at once (FOLDER_METRICS).
    """

    subject: Subject
    title: str
    references: float
    estimates: dict[str, Estimate]
    of_all: dict[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """The mean of paired differences a - b over the same photographs, for every compared metric."""

    set: str
    a: str
    b: str
    differences: dict[str, Estimate]


@dataclass(frozen=True)
class Summary:
    """All that summary.json holds."""

    settings: dict
    lines: tuple[Line, ...]
    comparisons: tuple[Comparison, ...]
    groups: dict[str, tuple[Line, ...]]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    not_measured: dict[str, str]


class Table:
    """Rows by subject, as arrays in one common order of photographs."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.images = sorted({str(row["image"]) for row in rows})
        self.identities = np.empty(len(self.images), object)
        self.groups = np.empty(len(self.images), object)
        order = {image: i for i, image in enumerate(self.images)}
        keys = ("references", *(metric.key for metric in METRICS))
        self.values: dict[Subject, dict[str, np.ndarray]] = {}
        for row in rows:
            subject = Subject(str(row["set"]), str(row["model"]), str(row["condition"]))
            columns = self.values.setdefault(subject, {key: np.full(len(self.images), np.nan) for key in keys})
            i = order[str(row["image"])]
            self.identities[i], self.groups[i] = row["identity"], row["group"]
            for key in keys:
                columns[key][i] = row[key]
        self.identities = self.identities.astype(str)
        self.groups = self.groups.astype(str)

    def estimate(self, values: np.ndarray, seed: int, within: np.ndarray | None = None) -> Estimate:
        chosen = np.ones(len(values), bool) if within is None else within
        return estimate_mean(values[chosen], self.identities[chosen], seed)


def summarise(
    table: Table,
    plan: Plan,
    models: Conditions,
    settings: dict,
    left_out: Sequence[LeftOut],
    notes: Sequence[str],
    not_measured: dict[str, str],
    of_all: dict[Subject, dict[str, Estimate]],
) -> Summary:
    """Means with 95 % intervals of every condition, of every group, and the differences that answer a question."""
    subjects = _subjects(table, plan, models)
    lines = tuple(_line(table, subject, plan, models, of_all) for subject in subjects)
    groups = {}
    for group in sorted(set(table.groups) - {""}):
        groups[group] = tuple(_line(table, s, plan, models, {}, table.groups == group) for s in subjects)
    comparisons = tuple(_comparisons(table, plan, models))
    return Summary(settings, lines, comparisons, groups, tuple(left_out), tuple(notes), not_measured)


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
    for set_name in settings["sets"]:
        chosen = [line for line in summary.lines if line.subject.set in ("", set_name)]
        parts += ["", f"## {set_name}", "", *_markdown_table(chosen)]
    if summary.comparisons:
        parts += ["", "## Which differences are real", ""]
        parts.append("Paired differences a - b on the same photographs; **bold** where the 95 % interval excludes 0.")
        parts += ["", *_markdown_comparisons(summary.comparisons)]
    for group, lines in summary.groups.items():
        parts += ["", f"## Group {group}", "", *_markdown_table(lines)]
    parts += ["", "## Notes", "", *(f"- {note}" for note in summary.notes)]
    parts += [f"- {name}: not measured: {why}." for name, why in summary.not_measured.items()]
    parts += ["", "## Left out", "", f"{remarks(summary)} (all: left_out.csv)."]
    parts += [f"- {item.name}: {item.reason}" for item in summary.left_out[:NAMED_IN_SUMMARY]]
    return "\n".join(parts) + "\n"


def _described(settings: dict) -> str:
    """What is measured, in words: a model by its sampling, others by what their results depend on."""
    if "steps" not in settings:
        return ", ".join(f"{key} {value}" for key, value in settings.items())
    guidance = f", guidance {settings['guidance']}" if "guidance" in settings else ""
    return f"{settings['steps']} steps of {settings['scheduler']}{guidance}, weights {settings['weights']}"


def _subjects(table: Table, plan: Plan, models: Conditions) -> list[Subject]:
    subjects = []
    for set_name in plan.sets:
        subjects += [Subject(set_name, "", "lq"), Subject(set_name, "", "bicubic")]
    subjects.append(Subject("", "", "nearest-reference"))
    for model, conditions in models.items():
        subjects += [Subject(name, model, c.key) for name in plan.sets for c in conditions]
        subjects.append(Subject("", model, "autoencoder"))
    return [subject for subject in subjects if subject in table.values]


def _line(
    table: Table,
    subject: Subject,
    plan: Plan,
    models: Conditions,
    of_all: dict[Subject, dict[str, Estimate]],
    within: np.ndarray | None = None,
) -> Line:
    columns = table.values[subject]
    estimates = {
        metric.key: estimate
        for metric in METRICS
        if (estimate := table.estimate(columns[metric.key], plan.seed, within)).count
    }
    references = float(columns["references"][slice(None) if within is None else within].mean())
    return Line(subject, _title(subject, models), references, estimates, of_all.get(subject, {}))


def _title(subject: Subject, models: Conditions) -> str:
    titles = {condition.key: condition.title for condition in models.get(subject.model, ())} | {
        "lq": "the LQ input itself",
        "bicubic": "the LQ input, enlarged bicubically",
        "nearest-reference": "the nearest reference shown as the result",
        "autoencoder": "autoencoder's reconstruction of the truth",
    }
    title = titles[subject.condition]
    return f"{subject.model}: {title}" if subject.model else title


def _comparisons(table: Table, plan: Plan, models: Conditions) -> list[Comparison]:
    """Does it restore (with - LQ), what do finding, aligning and pasting cost (product - with), does diffusion add to
    stage 1, do references help (with - without), are they used (wrong - without), do more help (each count - the one
    before), does it copy (with - nearest reference); and each restorer - the first, alike and each at its best."""
    first, *others = models
    comparisons = []
    for set_name in plan.sets:
        pairs: list[tuple[Subject, Subject]] = []
        for model, conditions in models.items():
            subject = {c.key: Subject(set_name, model, c.key) for c in conditions}
            top, without = subject[best(conditions).key], subject[NO_REFERENCES.key]
            pairs.append((top, Subject(set_name, "", "lq")))
            pairs += [(subject[c.key], top) for c in conditions if c.product]
            if STAGE_1 in conditions:
                pairs.append((without, subject[STAGE_1.key]))
            counts = [c for c in conditions if c.own]
            if not counts:
                continue
            pairs += [(top, without), (top, subject["zero"])]
            for wrong in [c.key for c in conditions if c.wrong_person]:
                pairs += [(subject[wrong], without), (subject[wrong], subject["zero"])]
            pairs += [(subject[b.key], subject[a.key]) for a, b in pairwise(counts)]
            pairs.append((top, Subject("", "", "nearest-reference")))
        for other in others:
            keys = {c.key for c in models[first]}
            alike = [(c.key, c.key) for c in models[other] if c.key in keys]
            each_at_its_best = (best(models[other]).key, best(models[first]).key)
            for key, of_first in dict.fromkeys([*alike, each_at_its_best]):
                pairs.append((Subject(set_name, other, key), Subject(set_name, first, of_first)))
        comparisons += [_compare(table, set_name, a, b, plan, models) for a, b in pairs]
    return comparisons


def _compare(table: Table, set_name: str, a: Subject, b: Subject, plan: Plan, models: Conditions) -> Comparison:
    differences = {}
    for key in COMPARED:
        estimate = table.estimate(table.values[a][key] - table.values[b][key], plan.seed)
        if estimate.count:
            differences[key] = estimate
    return Comparison(set_name, _title(a, models), _title(b, models), differences)


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
