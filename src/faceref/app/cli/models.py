"""`faceref models`: which there are, what is known of one, download and import of checkpoints, export, push."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from faceref.app.cli.console import output, show, working
from faceref.app.cli.downloads import AcceptLicence, Source, agreed, bytes_bar, check_digest
from faceref.errors import UsageError
from faceref.files import check_new

LARGEST = 4096  # pixels to a side


def _resolution(value: int | None) -> int | None:
    if value is not None and (value % 8 or not 8 <= value <= LARGEST):
        raise UsageError(f"No model makes pictures of {value} px", hint=f"give a multiple of 8, up to {LARGEST}")
    return value


app = typer.Typer(
    no_args_is_help=True, help="List, describe, download, import, export and push models.", rich_markup_mode=None
)


@app.command("list")
def list_models() -> None:
    """The models that --model takes by name, and where they are; it takes the folder of any other as well."""
    from faceref.checkpoints.info import NAMED, find_model, models_home, read_info

    table = Table("name", "resolution", "licence", "folder", box=None)
    for name in NAMED:
        if name == "refldm-512" and not (models_home() / name).is_dir():
            table.add_row(name, "512 px", "", "not here yet: faceref models download")
            continue
        folder = find_model(name)
        described = read_info(folder)
        table.add_row(name, f"{described.resolution} px", described.licence, str(folder))
    show(table)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A name or a folder.", show_default=False)],
) -> None:
    """What a model says of itself: resolution, defaults, training data, licence, measured quality."""
    from faceref.backends.description import read_export
    from faceref.checkpoints.info import BLIND, REFLDM, find_model, models_home, read_blind, read_info
    from faceref.consent import accepted_on

    folder = find_model(model)
    described = read_info(folder).model_dump() | {"folder": folder}
    if export := read_export(folder):
        described["exported"] = f"{export.format}, by faceref {export.faceref}: {', '.join(export.graphs)}"
    if model == REFLDM.name:
        day = accepted_on(REFLDM, models_home())
        described["licence accepted"] = f"on {day}, of release {REFLDM.version}" if day else "not recorded"
    if blind := read_blind(folder):
        described["without references"] = f"{blind.name} ({folder / BLIND})"
    table = Table(show_header=False, box=None)
    for key, value in described.items():
        table.add_row(key, "\n".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
    show(table)


class Downloadable(StrEnum):
    """Models that others host."""

    REFLDM_512 = "refldm-512"


@app.command()
def download(
    model: Annotated[Downloadable, typer.Argument(help="Whose checkpoints to get.", show_default=False)],
    accept_licence: AcceptLicence = False,
    source: Source = None,
    sha256: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIGEST",
            help="The digest of refldm.ckpt or vqgan.ckpt, if it is another. May be repeated.",
            show_default="as another public program lists them; not verified by us",
        ),
    ] = None,
    resolution: Annotated[
        int, typer.Option(callback=_resolution, help="Side of the pictures it was trained on, pixels.")
    ] = 512,
) -> None:
    """Fetch the authors' checkpoints of ReF-LDM (2 GB), check their digests and import them.

    Given again it goes on where it broke off.
    """
    from faceref.checkpoints.info import REFLDM, models_home
    from faceref.checkpoints.released import REFLDM_RELEASE, REFLDM_SHA256, download_refldm

    digests = REFLDM_SHA256 | _digests(sha256 or [], REFLDM_SHA256)
    home = models_home()
    accept_licence = agreed(REFLDM, home, accept_licence)
    with bytes_bar() as on_progress:
        done = download_refldm(
            home / model.value,
            source or REFLDM_RELEASE,
            accept_licence=accept_licence,
            sha256=digests,
            resolution=resolution,
            on_progress=on_progress,
        )
    output.print(f"{done.folder}: ready, as --model {model.value}.")


def _digests(given: list[str], known: Mapping[str, str]) -> dict[str, str]:
    """NAME=DIGEST, as a dictionary."""
    digests = {}
    for text in given:
        name, _, digest = text.partition("=")
        hint = f"write {' or '.join(known)}=64 hexadecimal digits"
        digests[name] = check_digest(digest if name in known else "", text, hint)
    return digests


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="ReF-LDM's denoiser, or all of LD-BFR.", show_default=False)
    ],
    vqgan: Annotated[
        Path | None, typer.Argument(metavar="[VQGAN.CKPT]", help="ReF-LDM's autoencoder.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The new folder.", show_default="for ReF-LDM where --model refldm-512 looks"),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            callback=_resolution,
            help="Side of the pictures it was trained on, pixels.",
            show_default="512; 256 for LD-BFR",
        ),
    ] = None,
) -> None:
    """Bring checkpoints in the layout of the authors' code into faceref's format; no code in them is run.

    ReF-LDM is two files, refldm.ckpt and vqgan.ckpt; LD-BFR is one.
    """
    from faceref.checkpoints.info import models_home
    from faceref.checkpoints.original import import_refldm
    from faceref.checkpoints.original_ldbfr import import_ldbfr

    if vqgan is not None:
        done = import_refldm(checkpoint, vqgan, out or models_home() / "refldm-512", resolution or 512)
    elif out is not None:
        done = import_ldbfr(checkpoint, out, resolution or 256)
    else:
        raise UsageError("Name the folder of the new model (-o FOLDER), or give the autoencoder of ReF-LDM, too.")
    weights = "the moving average of the weights" if done.ema else "the weights (there is no moving average)"
    sizes = ", ".join(f"{network} {count / 1e6:.1f} M" for network, count in done.parameters.items())
    output.print(
        f"{done.folder}: {sizes} parameters; took {weights}, {done.taken} tensors; left {done.ignored} that are not "
        "needed."
    )


@app.command()
def push(
    model: Annotated[str, typer.Argument(help="A name or a folder.", show_default=False)],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where to.", show_default=False)],
    public: Annotated[bool, typer.Option("--public", help="Let everybody read it, if it is made now.")] = False,
) -> None:
    """Upload a model with its card to Hugging Face's hub, as who hf auth login or HF_TOKEN says."""
    from faceref.checkpoints.publish import push_model

    with working("Uploading"):
        url = push_model(model, repository, public=public)
    output.print(f"{url}: for --model {repository}.")


class Kind(StrEnum):
    """What a model is exported as."""

    FACEREF = "faceref"
    ONNX = "onnx"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """Number formats that weights are stored in."""

    FP32 = "fp32"
    FP16 = "fp16"


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A name, a folder, or RUN@STEP, RUN@best.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.", show_default=False)],
    to: Annotated[
        Kind,
        typer.Option(help="A model as it was; or graphs in float32, for --backend or other programs (extras)."),
    ] = Kind.FACEREF,
    precision: Annotated[
        Precision | None,
        typer.Option(help="fp16 is half as large; computing stays in float32.", show_default="fp16"),
    ] = None,
    blind: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The model that the copy uses where no references are given.",
            show_default="the one that the model has, if any",
        ),
    ] = None,
) -> None:
    """Copy a model to pass on, in half the bytes; of a run, that of any checkpoint that it has kept.

    With --to, its networks as graphs (docs/performance.md).
    """
    check_new(out)
    if to != Kind.FACEREF:
        if precision is not None or blind is not None:
            raise UsageError("--precision and --blind are for copies", hint="leave them out, or leave --to out")
        with _written_out(model) as folder, working("Exporting"):
            from faceref.checkpoints.exported import export_model

            if Path(folder, "config.json").is_file():
                raise UsageError("is one network, and graphs are of whole models", subject=model, hint="leave --to out")
            graphs = export_model(folder, to.value, out)
        output.print(f"{out}: {', '.join(graphs)}; as --model {out}.")
        return
    import torch
    from diffusers.utils import logging as diffusers_logging

    from faceref.checkpoints.store import copy_network, load_blind, load_pipeline, save_model

    diffusers_logging.set_verbosity_error()  # it warns that fp16 does not run on a CPU; nothing is run here
    dtype = torch.float32 if precision == Precision.FP32 else torch.float16
    with _written_out(model) as folder:
        if Path(folder, "config.json").is_file():
            if blind:
                raise UsageError("is one network and restores nothing", subject=model, hint="leave --blind out")
            output.print(f"{out}: {copy_network(folder, out, dtype)}.")
            return
        pipeline, described = load_pipeline(folder, dtype=dtype, backend="torch")
        own_blind = load_blind(folder, dtype=dtype, backend="torch")
    if blind and described.family == "ldbfr":
        raise UsageError(f"{model} is of the family ldbfr, which never takes references; leave --blind out.")
    without_references = load_pipeline(blind, dtype=dtype, backend="torch") if blind else own_blind
    save_model(pipeline, described, out, without_references)
    size = sum(file.stat().st_size for file in out.rglob("*.safetensors"))
    output.print(f"{out}: {described.name}, {size / 1e6:.1f} MB of weights.")


@contextmanager
def _written_out(model: str) -> Iterator[str]:
    """A model's name or folder; that of RUN@STEP is written out for as long as it is needed."""
    run, _, step = model.rpartition("@")
    if not run or Path(model).exists() or not Path(run).is_dir():  # of the hub: org/name@revision
        yield model
        return
    if step != "best" and not step.isdecimal():
        raise UsageError("is no step of a run", subject=model, hint="write RUN@1000, or RUN@best")
    from faceref.training.export import export_step

    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        export_step(Path(run), None if step == "best" else int(step), folder)
        yield str(folder)
