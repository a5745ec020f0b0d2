"""`faceref data degrade` and `faceref data check`: LQ versions of a set, and whether the set is what it should be."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from faceref.app.cli.compute_options import Device
from faceref.app.cli.console import output, progress, show
from faceref.app.cli.data_options import RecogniserFile, UseRay, Workers, embed
from faceref.errors import UsageError


class Preset(StrEnum):  # ranges of the two papers, for 512 px (ldbfr: 256 px)
    SEVERE = "severe"
    MODERATE = "moderate"
    MILD = "mild"
    TRAINING = "training"
    LDBFR = "ldbfr"


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

    from faceref.data.lq_set import LEFT_OUT, PRESETS, degrade_files, files_to_degrade
    from faceref.jobs import DEFAULT_WORKERS

    free = {"sigma": sigma, "downsample": downsample, "noise": noise, "quality": quality}
    given = {key: value for key, value in free.items() if value is not None}
    base = PRESETS[preset.value]
    try:
        ranges = type(base).model_validate({**base.model_dump(), **given})
    except ValidationError as error:
        problem = error.errors()[0]
        where = "".join(f"--{name}: " for name in problem["loc"][:1])  # nowhere: it names the range itself
        reason = problem["msg"].removeprefix("Value error, ")
        raise UsageError(f"These ranges cannot be used: {where}{reason}") from error
    names = files_to_degrade(faces, split, mapping)
    with progress("degrading", "faces") as on_file:
        made, failed = degrade_files(
            faces,
            names,
            out,
            ranges,
            seed=seed,
            purpose=preset.value,
            workers=workers or DEFAULT_WORKERS,
            on_file=on_file,
        )
    output.print(f"{out}: {made} degraded faces; their parameters are in degradation.csv.")
    if failed:
        output.print(f"{out / LEFT_OUT}: {len(failed)} could not be degraded.")


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
    device: Device = None,
    workers: Workers = None,
    ray: UseRay = False,
) -> None:
    """Prove that splits share nobody and no near-duplicate, and that every file is there; exit code 1 if not."""
    from faceref.data.check import inspect_files, read_set
    from faceref.data.identities import find_near_duplicates

    data = read_set(faces, mapping)
    with progress("reading", "files") as on_file:
        states = inspect_files(faces, data.files, on_file)
    pairs = []
    rows = [{"file": file} for file in data.files if not states[file].problem]
    if near_duplicates and rows:
        space, embeddings = embed(faces, rows, recogniser, workers, ray, device)
        pairs = find_near_duplicates(embeddings, space)
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
        show(table)
    if statistics.nobody:
        output.print(f"photographs of which no person is known: {statistics.nobody}")
