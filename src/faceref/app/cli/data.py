"""`faceref data`: photographs into a data set: align, identities, splits, references, degrade, check; download."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from faceref.app.cli import data_download, data_sets
from faceref.app.cli.compute_options import Device
from faceref.app.cli.console import output, progress, say, show
from faceref.app.cli.data_options import Folder, RecogniserFile, UseRay, Workers, embed, say_all
from faceref.errors import DataError, UsageError

app = typer.Typer(no_args_is_help=True, help="Build and check data sets of aligned faces.", rich_markup_mode=None)


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
    from faceref.data.tree import LEFT_OUT, align_tree
    from faceref.jobs import DEFAULT_WORKERS

    with progress("aligning", "photographs") as on_photo:
        done = align_tree(
            photos,
            out,
            size=size,
            all_faces=all_faces,
            person_from_folder=person_from_folder,
            workers=workers or DEFAULT_WORKERS,
            ray=ray,
            on_photo=on_photo,
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
    device: Device = None,
    labels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Compare with the people of this column; change no person.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite people that others named.")] = False,
    sheets: Annotated[bool, typer.Option("--sheets/--no-sheets", help="Draw contact sheets.")] = True,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Find out who is who, and fill the column person; what you write into corrections.csv is applied."""
    from faceref.data.corrections import CORRECTIONS, read_corrections
    from faceref.data.identities import FOLDER, identify, named_by_others, with_persons, write_findings, write_persons
    from faceref.data.index import read_index, write_index
    from faceref.data.sheets import draw_sheets

    rows = read_index(faces)
    if labels is None and not replace and (others := named_by_others(faces, rows)):
        raise UsageError(
            f"names people already, {others[0]} for one",
            subject=faces / "index.csv",
            hint="compare with them (--labels person) or overwrite them (--replace)",
        )
    if labels is not None and not any(row.get(labels) for row in rows):
        raise UsageError(f"has nothing in a column {labels!r} to compare with", subject=faces / "index.csv")
    corrections = read_corrections(faces, {row["file"] for row in rows})
    space, embeddings = embed(faces, rows, recogniser, workers, ray, device)
    distance = space.threshold if threshold is None else threshold
    found = identify(embeddings, space, distance, corrections)
    write_findings(faces, found)
    if labels is None:
        write_persons(faces, found.persons())
        write_index(faces, with_persons(rows, found.persons()))
    if sheets:
        with progress("drawing", "contact sheets") as on_sheet:
            draw_sheets(faces, found, on_sheet)
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
    say_all("left out", embeddings.unreadable)
    if labels is not None:
        _compare(embeddings, space, distance, {row["file"]: row.get(labels, "") for row in rows}, faces / FOLDER)


def _compare(embeddings: Any, space: Any, distance: float, labels: dict[str, str], folder: Path) -> None:
    """Agreement with labels (file -> person) at distances around this one: printed, and curve.csv and curve.png."""
    from faceref.data.agreement import agreement_curve, write_curve

    points = agreement_curve(embeddings, space, distance, labels)
    write_curve(points, folder)
    table = Table("distance", "pairs: precision", "recall", "components: precision", "recall",
                  "identities: precision", "recall", box=None)  # fmt: skip
    for p in points:
        numbers = (value for a in (p.pairs, p.components, p.identities) for value in (a.precision, a.recall))
        table.add_row(f"{p.threshold:.3f}", *(f"{value:.4f}" for value in numbers))
    show(table)


@app.command()
def splits(
    faces: Folder,
    val: Annotated[float, typer.Option(min=0, max=1, help="Share of the identities.")] = 0.05,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the identities.")] = 0.05,
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
    say_all("now in train, was in two splits", [(person, "") for person in done.moved])


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
    device: Device = None,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Write reference_mapping/{train,val,test}_references.csv in the format of FFHQ-Ref's files."""
    from faceref.data.embedding_space import embedding_space
    from faceref.data.index import read_index
    from faceref.data.reference_rules import (
        ReferenceRules,
        choose_references,
        remove_mapping,
        write_left_out,
        write_mapping,
    )
    from faceref.data.splits import SPLITS

    rows = read_index(faces)
    present = {row.get("split") for row in rows}
    if not present & set(SPLITS):
        raise DataError(
            "has no photograph in train, val or test",
            subject=faces / "index.csv",
            hint="run faceref data splits first",
        )
    space = embedding_space(recogniser)
    farthest = space.reference_distance if max_distance is None else max_distance
    rules = {}
    for split in (split for split in SPLITS if split in present):
        closest = (0.0 if split == "train" else space.near_duplicate) if min_distance is None else min_distance
        rules[split] = ReferenceRules(closest, farthest, at_least, at_most)
        rules[split].check()  # before mappings of other rules are replaced
    space, embeddings = embed(faces, rows, recogniser, workers, ray, device)
    left_out, targets = {}, 0
    for split in SPLITS:
        if split not in rules:
            remove_mapping(faces, split)  # of those who were in it, and are in another now
            continue
        done = choose_references(rows, split, embeddings, space.measure, rules[split])
        left_out[split] = done.left_out
        path = write_mapping(faces, split, done.mapping)
        shown = sum(len(entry.ref_images) for entry in done.mapping)
        output.print(f"{path}: {len(done.mapping)} targets, {shown} references in all; {len(done.left_out)} left out")
        targets += len(done.mapping)
    reasons = write_left_out(faces, left_out)
    if not targets:
        raise DataError(f"No photograph has references; {reasons} says why for each")
    output.print(f"Who was left out, and why: {reasons}")


app.command()(data_sets.degrade)
app.command()(data_download.download)
app.command()(data_sets.check)
