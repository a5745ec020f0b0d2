"""The plots and contact sheets of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # draws into files without a display and without pyplot's global state
from PIL import Image

from faceref.evaluation.cases import Case
from faceref.evaluation.conditions import NO_REFERENCES, Condition, Conditions, Plan, best
from faceref.evaluation.faces import read_face
from faceref.evaluation.metrics import IDENTITY
from faceref.evaluation.pictures import as_file_name, picture_folder, picture_path
from faceref.evaluation.summary import Subject, Table
from faceref.files import write_atomically
from faceref.pictures.sheets import below, beside, named, titled

SEVERITY_BINS = 5
RANKED_ROWS = 5  # of the best, of the median and of the worst
LOOKED_AT = 64
ROWS_A_PAGE = 16
SHOWN_REFERENCES = 3
TITLE, NAME = 12, 10  # pixels


def plot_all(table: Table, plan: Plan, models: Conditions, out: Path) -> None:
    """identity_by_references.png, identity_by_degradation.png and identity_distribution.png."""
    if plan.most:
        _save(_by_references(table, plan, models), out / "identity_by_references.png")
    _save(_by_degradation(table, plan, models), out / "identity_by_degradation.png")
    _save(_distribution(table, plan, models), out / "identity_distribution.png")


def draw_sheets(table: Table, cases: Sequence[Case], plan: Plan, models: Conditions, size: int, out: Path) -> None:
    """sheet_SET_MODEL_ranked.png, best, median and worst by identity; ..._random1.png and on, 64 cases."""
    by_name = {case.name: case for case in cases}
    for set_name in plan.sets:
        for model, conditions in models.items():
            identity = table.values[Subject(set_name, model, best(conditions).key)][IDENTITY.key]
            order = [int(i) for i in np.argsort(-identity)]
            each = min(RANKED_ROWS, max(1, len(order) // 3))
            middle = (len(order) - each) // 2
            ranked = {"best": order[:each], "median": order[middle : middle + each], "worst": order[-each:]}
            random = np.random.default_rng(plan.seed).permutation(len(order))[:LOOKED_AT].tolist()
            name = as_file_name(f"{set_name or 'any'}_{model}")
            sheets = {"ranked": ranked}
            for page, start in enumerate(range(0, len(random), ROWS_A_PAGE), start=1):
                sheets[f"random{page}"] = {"": random[start : start + ROWS_A_PAGE]}
            for kind, rows in sheets.items():
                labelled = [
                    (f"{label} {identity[i]:.2f}".strip(), by_name[table.images[i]])
                    for label, members in rows.items()
                    for i in members
                ]
                sheet = _sheet(labelled, set_name, model, conditions, plan, size, out / "pictures")
                with write_atomically(out / f"sheet_{name}_{kind}.png") as temporary:
                    sheet.save(temporary, compress_level=1)


def _by_references(table: Table, plan: Plan, models: Conditions) -> Figure:
    figure, axes = _axes(plan)
    first = next(iter(models))
    for axis, set_name in zip(axes, plan.sets, strict=True):
        for model, conditions in models.items():
            subjects = [Subject(set_name, model, c.key) for c in conditions if c.own or c.key == NO_REFERENCES.key]
            shown = [table.values[s]["references"].mean() for s in subjects]
            estimates = [table.estimate(table.values[s][IDENTITY.key], plan.seed) for s in subjects]
            means = np.array([e.mean for e in estimates])
            errors = np.array([[e.mean - e.low, e.high - e.mean] for e in estimates]).T  # [2, conditions]
            axis.errorbar(shown, means, errors, marker="o", capsize=3, label=model)
        for subject, label, style in (
            (Subject(set_name, "", "lq"), "LQ input", ":"),
            (Subject("", "", "nearest-reference"), "nearest reference shown", "-."),
            (Subject("", first, "autoencoder"), f"{first}: autoencoder", "--"),
        ):
            if subject in table.values:  # not every restorer has an autoencoder
                level = float(table.values[subject][IDENTITY.key].mean())
                axis.axhline(level, linestyle=style, color="0.5", label=label)
        axis.set(title=set_name, xlabel="references shown (mean)", ylabel=IDENTITY.title)
        axis.legend()
    return figure


def _by_degradation(table: Table, plan: Plan, models: Conditions) -> Figure:
    """Identity in fifths of the photographs, from the worst LQ input to the best by PSNR."""
    figure, axes = _axes(plan)
    for axis, set_name in zip(axes, plan.sets, strict=True):
        quality = table.values[Subject(set_name, "", "lq")]["psnr"]
        bins = np.array_split(np.argsort(quality), min(SEVERITY_BINS, len(quality)))
        lines = {"LQ input": Subject(set_name, "", "lq")}
        for model, conditions in models.items():
            lines |= {f"{model}, {c.key}": Subject(set_name, model, c.key) for c in (NO_REFERENCES, best(conditions))}
        for label, subject in lines.items():
            identity = table.values[subject][IDENTITY.key]
            axis.plot([quality[b].mean() for b in bins], [identity[b].mean() for b in bins], marker="o", label=label)
        axis.set(title=set_name, xlabel="PSNR of the LQ input (dB)", ylabel=IDENTITY.title)
        axis.legend()
    return figure


def _distribution(table: Table, plan: Plan, models: Conditions) -> Figure:
    figure, axes = _axes(plan)
    for axis, set_name in zip(axes, plan.sets, strict=True):
        subjects = [Subject(set_name, "", "lq")]
        subjects += [Subject(set_name, model, c.key) for model, conditions in models.items() for c in conditions]
        values = [table.values[subject][IDENTITY.key] for subject in subjects]
        labels = [f"{subject.model} {subject.condition}".strip() for subject in subjects]
        axis.boxplot(values, orientation="horizontal", showfliers=len(table.images) < 100)
        axis.set_yticks(range(1, len(labels) + 1), labels)
        axis.invert_yaxis()
        axis.set(title=set_name, xlabel=IDENTITY.title)
    return figure


def _sheet(
    labelled: Sequence[tuple[str, Case]],
    set_name: str,
    model: str,
    conditions: Sequence[Condition],
    plan: Plan,
    size: int,
    pictures: Path,
) -> Image.Image:
    """One row for each case: LQ, without references, with, truth, and the first references."""
    columns = {"LQ": picture_folder(set_name, "", "lq")}
    for condition in conditions:
        if not condition.count or condition.product or condition == best(conditions):
            columns[condition.title] = picture_folder(set_name, model, condition.key)
    columns["truth"] = "truth"
    rows = []
    for label, case in labelled:
        shown = {title: _open(picture_path(pictures / folder, case.name)) for title, folder in columns.items()}
        for number, path in enumerate(case.references[: min(SHOWN_REFERENCES, plan.most)], start=1):
            shown[f"reference {number}"] = Image.fromarray(read_face(path, size).pixels)
        row = beside([named(picture, title, NAME) for title, picture in shown.items()])
        rows.append(titled(row, f"{label}  {case.name}", TITLE))
    return below(rows)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _axes(plan: Plan) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(6 * len(plan.sets), 4.5), layout="tight")
    return figure, list(figure.subplots(1, len(plan.sets), squeeze=False)[0])


def _save(figure: Figure, path: Path) -> None:
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)
