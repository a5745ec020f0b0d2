"""From rows to a summary: means with intervals of every condition, and the paired differences between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from faceref.evaluation.cases import LeftOut
from faceref.evaluation.conditions import NO_REFERENCES, STAGE_1, Conditions, Plan, best
from faceref.evaluation.groups import Row
from faceref.evaluation.metrics import METRICS
from faceref.evaluation.statistics import Estimate, estimate_mean

COMPARED = ("identity_cosine", "identity_distance", "feature_distance", "psnr", "ssim", "lpips")


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
