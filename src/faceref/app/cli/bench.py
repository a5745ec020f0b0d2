"""`faceref bench`: seconds and memory of each stage on this machine, and whether they are as they were."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from faceref.app.cli.arguments import numbers
from faceref.app.cli.compute_options import DEFAULTS as COMPUTE
from faceref.app.cli.compute_options import BackendName, Device, MemoryUse
from faceref.app.cli.console import output, show, working
from faceref.compute import Compute, DtypeName
from faceref.errors import UsageError

MARGIN = 1.25


class Layout(StrEnum):
    """Models that may not be here, whose sizes are known."""

    REFLDM_512 = "refldm-512"


def bench(
    model: Annotated[str, typer.Argument(help="small, refldm-512, or a model folder.")] = "small",
    random: Annotated[
        Layout | None,
        typer.Option(help="Instead of MODEL, one of its sizes with random weights: as fast, and needs no download."),
    ] = None,
    references: Annotated[str, typer.Option(help="Numbers of references, like 0,1,5.")] = "0,1,5",
    steps: Annotated[
        str | None, typer.Option(help="Numbers of denoising steps.", show_default="the model's own")
    ] = None,
    batch: Annotated[str, typer.Option(help="Numbers of faces that are restored together.")] = "1",
    dtypes: Annotated[str, typer.Option("--dtype", help="Number formats, like float32,bfloat16.")] = "float32",
    guidance: Annotated[float | None, typer.Option(help="Towards the references; the model's own by default.")] = None,
    photo: Annotated[
        Path | None,
        typer.Option(help="A photograph with a face: measure opening to writing as well, in the first of --steps."),
    ] = None,
    ref: Annotated[list[Path] | None, typer.Option(help="References for it: files or a folder; several.")] = None,
    device: Device = COMPUTE.device,
    memory: MemoryUse = COMPUTE.memory,
    backend: BackendName = COMPUTE.backend,
    repetitions: Annotated[int, typer.Option(min=1, help="Of each stage; the median counts.")] = 3,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write what was measured.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What --json wrote earlier: also show how many times as much each stage takes now; exit code 1 if it "
            "is more than --margin times as much for any.",
        ),
    ] = None,
    margin: Annotated[float, typer.Option(min=1, help="How many times as much is still not worse.")] = MARGIN,
) -> None:
    """Measure how long each stage of a restoration takes on this machine, and how much memory."""
    wrong = set(dtypes.split(",")) - set(get_args(DtypeName))
    if wrong:
        raise UsageError(f"There is no number format {min(wrong)!r}", hint=f"give {', '.join(get_args(DtypeName))}")
    with working("Loading torch"):
        from faceref.bench.report import check_comparable, compare, heading, ratio_table, read_report, tables
        from faceref.bench.run import Plan, run
        from faceref.files import check_writable
        from faceref.pictures.photo import check_photo
        from faceref.pictures.search import check_exists, list_photos

    # what is wrong with any of it is said before minutes of measuring
    if ref and photo is None:
        raise UsageError("The references are those of a photograph", hint="name it with --photo")
    if photo is not None:
        check_exists(photo)
        check_photo(photo)
        list_photos(ref or ())
    before = against and read_report(against)
    if json is not None:
        check_writable(json)
    plan = Plan(
        model=None if random else model,
        references=numbers(references, "--references"),
        steps=() if steps is None else numbers(steps, "--steps", at_least=1),
        batch=numbers(batch, "--batch", at_least=1),
        dtypes=cast(tuple[DtypeName, ...], tuple(dtypes.split(","))),
        guidance=guidance,
        photograph=photo,
        photograph_references=tuple(ref or ()),
        compute=Compute(device, memory=memory, backend=backend),
        repetitions=repetitions,
    )
    if before is not None:
        check_comparable(before, plan.called, plan.guidance)
    with working("Measuring"):
        report = run(plan)
    output.print(heading(report))
    for table in tables(report):
        show(table)
    if json is not None:
        report.save(json)
    if before is not None:
        ratios = compare(report, before)
        output.print(f"before: {heading(before)}")
        show(ratio_table(ratios, margin))
        if any(one.is_worse(margin) for one in ratios):
            raise typer.Exit(1)
