"""`faceref evaluate`: measure one or more models on photographs of people they were not trained on."""

from pathlib import Path
from typing import Annotated

import typer

from faceref.app.cli.arguments import numbers
from faceref.app.cli.compute_options import DEFAULTS as COMPUTE
from faceref.app.cli.compute_options import BackendName, Device, Dtype, MemoryUse
from faceref.app.cli.console import progress
from faceref.compute import Compute
from faceref.errors import UsageError


def evaluate(
    hq: Annotated[
        Path,
        typer.Option(help="Folder of the true photographs; without --mapping or --index, of a folder a person."),
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="small, or folders; settings may follow: MODEL,steps=50,scheduler=ddim"
        ),
    ] = None,
    restored: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER", help="Pictures that another program restored, named as the targets; may be repeated."
        ),
    ] = None,
    restorer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE.onnx",
            help="Another restorer, of one picture to one; its pixels' range may follow: FILE.onnx,range=0..1",
        ),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="CSV of targets and references: gt_image, ref_image[, lq_image].")
    ] = None,
    index: Annotated[Path | None, typer.Option(help="index.csv instead of a mapping: file, person, split.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the index to measure on.", show_default="test")] = None,
    lq: Annotated[Path | None, typer.Option(help="Folder of degraded targets; without it they are made.")] = None,
    degradation: Annotated[
        list[str] | None, typer.Option(help="severe, moderate or mild, also several times; severe if there is no --lq.")
    ] = None,
    references: Annotated[int, typer.Option(min=0, help="References shown, at most.")] = 5,
    reference_counts: Annotated[
        str | None,
        typer.Option(help='Smaller numbers of references to measure as well; "" for none.', show_default="1,3"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the model's own by default.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance towards the references; the model's own by default.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, dpmsolver++ or unipc; the model's own by default.")
    ] = None,
    crisp: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How crisply to draw, if the model can be told; its own by default."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of noise, degradation, wrong references, sample and bootstrap.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure on a sample of so many, spread over people.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    recogniser: Annotated[Path | None, typer.Option(help="A second recogniser: safetensors or ONNX.")] = None,
    center_index: Annotated[
        Path | None, typer.Option(help="index.csv whose train split gives the mean embedding, instead of LFW's.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Column of index or labels to make a table for each value of; or ita, measured on the skin."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV for --group-by instead of the index: file, COLUMN.")] = None,
    product: Annotated[
        bool, typer.Option("--product", help="Measure finding, aligning and pasting as well, as a user has it.")
    ] = False,
    device: Device = COMPUTE.device,
    dtype: Dtype = COMPUTE.dtype,
    memory: MemoryUse = COMPUTE.memory,
    backend: BackendName = COMPUTE.backend,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("evaluation"),
) -> None:
    """Restore, measure and compare models, and what others restored.

    OUT holds per_image.csv, summary.md, summary.json, plots and contact sheets.
    Given again, it goes on where it was interrupted.
    """
    from faceref.allocator import keep_freed_memory
    from faceref.evaluation.elsewhere import RestoredSpec
    from faceref.evaluation.models import ModelSpec, SamplingChanges
    from faceref.evaluation.onnx_restorer import OnnxSpec
    from faceref.evaluation.report import remarks, standing
    from faceref.evaluation.request import Request
    from faceref.evaluation.study import run_study
    from faceref.processes import together

    if split is not None and index is None:
        raise UsageError("A split was given, and no index that tells who is in it", hint="give --index, or no --split")
    if memory == "normal":
        keep_freed_memory()
    default = SamplingChanges(steps, guidance, scheduler, crisp)
    no_counts = None if reference_counts is None else ()
    request = Request(
        models=tuple(ModelSpec.parse(model, default) for model in models or ()),
        restored=tuple(map(RestoredSpec.parse, restored or ())),
        onnx=tuple(map(OnnxSpec.parse, restorer or ())),
        hq=hq,
        mapping=mapping,
        index=index,
        split="test" if split is None else split,
        lq=lq,
        degradations=tuple(degradation or ()),
        references=references,
        reference_counts=numbers(reference_counts, "--reference-counts") if reference_counts else no_counts,
        seed=seed,
        limit=limit,
        batch_size=batch_size,
        recogniser=recogniser,
        center_index=center_index,
        group_by=group_by,
        labels=labels,
        product=product,
    )
    with together(), progress("restoring and measuring", "faces") as on_case:
        summary = run_study(request, out, Compute(device, dtype, memory, backend), on_case)
    if summary is None:  # the main process has it
        return
    typer.echo(standing(summary))
    if summary.left_out:
        typer.echo(f"{remarks(summary)}: {out / 'left_out.csv'}")
    typer.echo(f"The table: {out / 'summary.md'}")
