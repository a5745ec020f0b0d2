"""`faceref data`: from a folder of photographs to a data set: align, identities, splits, references, degrade, check."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from faceref.app.cli.console import output, remarks, say
from faceref.errors import DataError, UsageError

app = typer.Typer(no_args_is_help=True, help="Build and check data sets of aligned faces.", rich_markup_mode=None)

Folder = Annotated[
    Path, typer.Argument(metavar="FACES", help="Folder with index.csv, as align makes.", show_default=False)
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one a core, at most 4")]
UseRay = Annotated[bool, typer.Option("--ray", help="Through Ray Data: RAY_ADDRESS's cluster, or a local one.")]
RecogniserFile = Annotated[
    Path | None, typer.Option("--recogniser", help="safetensors or ONNX.", show_default="dlib's recogniser")
]


@app.command()
def align(
    photos: Annotated[
        Path, typer.Argument(metavar="PHOTOS", help="Folder, searched to the bottom.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Argument(metavar="FACES", help="Folder for the faces and index.csv.", show_default=False)
    ],
    size: Annotated[int, typer.Option(min=32, help="Side of the aligned faces, pixels.")] = 512,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Every face of a photograph, not the largest.")
    ] = False,
    person_from_folder: Annotated[
        bool, typer.Option("--person-from-folder", help="The folders in PHOTOS are people: fill the column person.")
    ] = False,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Cut out and align faces by FFHQ's rule; run it again to go on where it was interrupted."""
    from faceref.data.align import LEFT_OUT, align_tree
    from faceref.jobs import DEFAULT_WORKERS

    done = align_tree(
        photos,
        out,
        size=size,
        all_faces=all_faces,
        person_from_folder=person_from_folder,
        workers=workers or DEFAULT_WORKERS,
        ray=ray,
    )
    output.print(f"{out / 'index.csv'}: {len(done.rows)} faces; {done.new} photographs were new.")
    if done.left_out:
        counts = Counter(row["kind"] for row in done.left_out)
        output.print(f"{out / LEFT_OUT}: {', '.join(f'{kind} {n}' for kind, n in counts.most_common())}.")


@app.command()
def identities(
    faces: Folder,
    threshold: Annotated[
        float | None, typer.Option(min=0, help="Closer than this is one person.", show_default="the recogniser's")
    ] = None,
    recogniser: RecogniserFile = None,
    labels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Compare with the people of this column; change no person.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite people that others named.")] = False,
    sheets: Annotated[bool, typer.Option("--sheets/--no-sheets", help="Draw contact sheets.")] = True,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Find out who is who, and fill the column person; what you write into corrections.csv is applied."""
    from faceref.data.agreement import agreement_curve, write_curve
    from faceref.data.corrections import CORRECTIONS, read_corrections
    from faceref.data.identities import FOLDER, identify, named_by_others, with_persons, write_findings, write_persons
    from faceref.data.index import read_index, write_index
    from faceref.data.sheets import draw_sheets

    rows = read_index(faces)
    if labels is None and not replace and (others := named_by_others(faces, rows)):
        raise UsageError(
            f"{faces / 'index.csv'} names people already, {others[0]} for one; compare with them (--labels person) or "
            "overwrite them (--replace)."
        )
    if labels is not None and not any(row.get(labels) for row in rows):
        raise UsageError(f"{faces / 'index.csv'} has nothing in a column {labels!r} to compare with.")
    corrections = read_corrections(faces, {row["file"] for row in rows})
    chosen, embeddings = _embed(faces, rows, recogniser, workers, ray)
    distance = chosen.threshold if threshold is None else threshold
    found = identify(embeddings, chosen, distance, corrections)
    write_findings(faces, found)
    if labels is None:
        write_persons(faces, found.persons())
        write_index(faces, with_persons(rows, found.persons()))
    if sheets:
        draw_sheets(faces, found, _progress("drawing contact sheets"))
    sizes = Counter(len(group) for group in found.groups())
    output.print(
        f"{sum(sizes.values())} identities among {len(found.files)} faces at distance {distance:g}; "
        f"{sum(sizes.values()) - sizes[1]} have two photographs or more."
    )
    groups = sum(bridge.suspicious for bridge in found.bridges)
    output.print(
        f"{len(found.bridges)} bridges were cut, {groups} of them between groups; "
        f"{len(found.near_duplicates)} pairs are nearly one photograph."
    )
    output.print(
        f"Look at {faces / FOLDER}, write what is wrong into {faces / CORRECTIONS} "
        "(same,A,B / different,A,B / exclude,A) and run this again."
    )
    _say_all("left out", embeddings.unreadable)
    if labels is not None:
        points = agreement_curve(embeddings, chosen, distance, {row["file"]: row.get(labels, "") for row in rows})
        write_curve(points, faces / FOLDER)
        table = Table("distance", "pairs: precision", "recall", "components: precision", "recall",
                      "identities: precision", "recall", box=None)  # fmt: skip
        for p in points:
            numbers = (value for a in (p.pairs, p.components, p.identities) for value in (a.precision, a.recall))
            table.add_row(f"{p.threshold:.3f}", *(f"{value:.4f}" for value in numbers))
        output.print(table)


@app.command()
def splits(
    faces: Folder,
    val: Annotated[float, typer.Option(help="Share of the identities.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of the identities.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Draw all anew, also who has a split.")] = False,
) -> None:
    """Divide people into train, val and test, and fill the column split; who has a split keeps it."""
    from faceref.data.index import read_index, write_index
    from faceref.data.splits import SPLITS, read_near_duplicates, split_by_identity, write_split_lists

    rows = read_index(faces)
    near = read_near_duplicates(faces)
    if near is None:
        say("Near-duplicates of different people are not known before faceref data identities has been run here.")
    done = split_by_identity(rows, val=val, test=test, seed=seed, near_duplicates=near or (), replace=replace)
    write_index(faces, done.rows)
    write_split_lists(faces, done.rows)
    for split in SPLITS:
        inside = [row for row in done.rows if row["split"] == split]
        output.print(f"{split}: {len(inside)} photographs of {len({row['person'] for row in inside})} people")
    if nobody := sum(not row["split"] for row in done.rows):
        output.print(f"without a split, because nobody has said who it is: {nobody} photographs")
    _say_all("now in train, was in two splits", [(person, "") for person in done.moved])


@app.command()
def references(
    faces: Folder,
    min_distance: Annotated[
        float | None, typer.Option(min=0, show_default="0 in train, else the recogniser's near-duplicate")
    ] = None,
    max_distance: Annotated[float | None, typer.Option(min=0, show_default="the recogniser's")] = None,
    at_least: Annotated[int, typer.Option(min=1, help="References that a target must have.")] = 1,
    at_most: Annotated[int, typer.Option(min=1, help="References of a target.")] = 9,
    recogniser: RecogniserFile = None,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Write reference_mapping/{train,val,test}_references.csv in the format of FFHQ-Ref's files."""
    from faceref.data.index import read_index
    from faceref.data.reference_choice import ReferenceRules, choose_references, write_left_out, write_mapping
    from faceref.data.splits import SPLITS

    rows = read_index(faces)
    present = {row.get("split") for row in rows}
    if not present & set(SPLITS):
        raise DataError(
            f"{faces / 'index.csv'} has no photograph in train, val or test; run faceref data splits first."
        )
    chosen, embeddings = _embed(faces, rows, recogniser, workers, ray)
    left_out, targets = {}, 0
    for split in (split for split in SPLITS if split in present):
        closest = (0.0 if split == "train" else chosen.near_duplicate) if min_distance is None else min_distance
        farthest = chosen.reference_distance if max_distance is None else max_distance
        done = choose_references(rows, split, embeddings, chosen, ReferenceRules(closest, farthest, at_least, at_most))
        left_out[split] = done.left_out
        path = write_mapping(faces, split, done.mapping)
        shown = sum(len(entry.ref_images) for entry in done.mapping)
        output.print(f"{path}: {len(done.mapping)} targets, {shown} references in all; {len(done.left_out)} left out")
        targets += len(done.mapping)
    reasons = write_left_out(faces, left_out)
    if not targets:
        raise DataError(f"No photograph has references; {reasons} says why for each.")
    output.print(f"Who was left out, and why: {reasons}")


class Preset(StrEnum):  # ranges of the two papers, for 512 px (ldbfr: 256 px)
    SEVERE = "severe"
    MODERATE = "moderate"
    TRAINING = "training"
    LDBFR = "ldbfr"


@app.command()
def degrade(
    faces: Annotated[Path, typer.Argument(metavar="FACES", help="Folder of aligned faces.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="LQ", help="Folder for the degraded ones.", show_default=False)],
    preset: Annotated[Preset, typer.Option(help="Ranges to draw from.")] = Preset.SEVERE,
    sigma: Annotated[tuple[float, float] | None, typer.Option(help="Blur, pixels, instead of the preset's.")] = None,
    downsample: Annotated[tuple[float, float] | None, typer.Option(help="Factor.")] = None,
    noise: Annotated[tuple[float, float] | None, typer.Option(help="Of 255.")] = None,
    quality: Annotated[tuple[int, int] | None, typer.Option(help="Of the JPEG, 1 to 100.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of index.csv.", show_default="all")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Only the targets of this mapping.")] = None,
    seed: Annotated[int, typer.Option(help="With the file's name it decides everything.")] = 0,
    workers: Workers = None,
) -> None:
    """Make an LQ set (Eq. 4 of ReF-LDM); pictures that LQ holds already are kept.

    Ranges are for the preset's size and are brought to that of each face.
    """
    from pydantic import ValidationError

    from faceref.data.degrade import LEFT_OUT, PRESETS, degrade_files, files_to_degrade
    from faceref.jobs import DEFAULT_WORKERS

    free = {"sigma": sigma, "downsample": downsample, "noise": noise, "quality": quality}
    given = {key: value for key, value in free.items() if value is not None}
    base = PRESETS[preset.value]
    try:
        ranges = type(base).model_validate({**base.model_dump(), **given})
    except ValidationError as error:
        raise UsageError(f"These ranges cannot be used: {error.errors()[0]['msg']}.") from error
    names = files_to_degrade(faces, split, mapping)
    made, failed = degrade_files(
        faces, names, out, ranges, seed=seed, purpose=preset.value, workers=workers or DEFAULT_WORKERS
    )
    output.print(f"{out}: {made} degraded faces; their parameters are in degradation.csv.")
    if failed:
        output.print(f"{out / LEFT_OUT}: {len(failed)} could not be read.")


@app.command()
def check(
    faces: Annotated[Path, typer.Argument(metavar="FACES", help="Folder of aligned faces.", show_default=False)],
    mapping: Annotated[
        list[Path] | None,
        typer.Option(help="Mapping or list of a split; may be given several times.", show_default="FACES' own"),
    ] = None,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates/--no-near-duplicates", help="Look for them by face.")
    ] = True,
    recogniser: RecogniserFile = None,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Prove that splits share nobody and no near-duplicate, and that every file is there; exit code 1 if not."""
    from faceref.data.check import inspect_files, read_set
    from faceref.data.identities import find_near_duplicates

    data = read_set(faces, mapping)
    states = inspect_files(faces, data.files, _progress("reading"))
    pairs = []
    rows = [{"file": file} for file in data.files if not states[file].problem]
    if near_duplicates and rows:
        chosen, embeddings = _embed(faces, rows, recogniser, workers, ray)
        pairs = find_near_duplicates(embeddings, chosen)
    problems = data.problems(states, pairs)
    for problem in problems:
        output.print(f"{problem.name}: {problem.what}")
    _print_statistics(data.statistics())
    output.print(f"{len(data.files)} files, {len(pairs)} near-duplicates, {len(problems)} problems.")
    if problems:
        raise typer.Exit(1)


def _print_statistics(statistics: Any) -> None:
    """The histograms of Fig. 8 of ReF-LDM, a row for each split."""
    for title, histograms in (
        ("photographs per identity", statistics.photographs),
        ("references per target", statistics.references),
    ):
        if not histograms:
            continue
        counts = sorted({n for histogram in histograms.values() for n in histogram})
        table = Table(title, "all", *map(str, counts), box=None)
        for split, histogram in histograms.items():
            cells = (str(histogram[n] or "") for n in counts)
            table.add_row(split or "no split", str(sum(histogram.values())), *cells)
        output.print(table)
    if statistics.nobody:
        output.print(f"photographs of which no person is known: {statistics.nobody}")


def _embed(faces: Path, rows: list, path: Path | None, workers: int | None, ray: bool) -> tuple[Any, Any]:
    """The recogniser and the embeddings of the rows' files; on a GPU in this process if there is one."""
    import torch

    from faceref.data.embedding import choose_recogniser, embed_faces
    from faceref.jobs import DEFAULT_WORKERS

    chosen = choose_recogniser(path)
    device = "cuda" if torch.cuda.is_available() and not ray else "cpu"
    processes = 1 if device == "cuda" else workers or DEFAULT_WORKERS
    return chosen, embed_faces(faces, rows, chosen, device=device, workers=processes, ray=ray)


def _progress(description: str) -> Any:
    def wrapped(items: Iterable, total: int) -> Iterable:
        return track(items, total=total, description=description, console=remarks)

    return wrapped


def _say_all(what: str, items: list[tuple[str, str]]) -> None:
    for name, reason in items:
        output.print(f"{what}: {name}" + (f", {reason}" if reason else ""))
