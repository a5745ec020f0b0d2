"""Models whose networks are graphs for another program than PyTorch: those a user exported, and those we keep."""

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

import platformdirs
import torch

from faceref.backends.description import SUFFIXES, Export, Format, read_export
from faceref.backends.export import export_pipeline
from faceref.backends.installed import TO_EXPORT, TO_RUN, check_installed
from faceref.backends.loading import load_graphs
from faceref.checkpoints.info import BLIND, find_model, fingerprint_of, read_info
from faceref.compute import Backend, DtypeName, Memory
from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.files import new_folder, replaced_folder
from faceref.pipelines.families import PIPELINES
from faceref.pipelines.protocol import FacePipeline

logger = logging.getLogger(__name__)

_RUNS: dict[Format, tuple[Backend, ...]] = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}
_ROOM = 3  # times the weights: the denoiser's are in two graphs, and a graph is written in two steps


def export_model(name_or_path: str | os.PathLike[str], format: Format, out: Path) -> list[str]:
    """Write a model, and the one that it brings along, as graphs: a model folder of its own, or nothing; their names.

    Raises UsageError if there is no such model, a package is missing, or it is an export or cannot be one; OutputError
    if the folder exists or there is no room.
    """
    check_installed(TO_EXPORT[format])
    folder = find_model(name_or_path)
    with new_folder(out) as scratch:
        _write(folder, format, scratch)
        if (folder / BLIND).is_dir():
            (scratch / BLIND).mkdir()
            _write(folder / BLIND, format, scratch / BLIND)
        return sorted(path.relative_to(scratch).as_posix() for path in scratch.rglob(f"*{SUFFIXES[format]}"))


def backend_for(folder: Path, asked: Backend | None) -> Backend:
    """What computes the model in a folder.

    Raises UsageError if that cannot be what is asked for, CheckpointError for an export of another version.
    """
    export = read_export(folder)
    if export is None:
        return asked or "torch"
    runs = _RUNS[export.format]
    if asked is None:
        return runs[0]
    if asked not in runs:
        hint = f"compute with {' or '.join(runs)}, or give the model itself"
        raise UsageError(f"is exported as {export.format}, not for {asked}", subject=folder, hint=hint, code="exported")
    return asked


def check_computes(
    backend: Backend, device: torch.device | str | None, dtype: torch.dtype | DtypeName, memory: Memory
) -> None:
    """Raises UsageError for what PyTorch alone can do."""
    wrong = {
        f"on {device}": device is not None and str(device).partition(":")[0] != "cpu",
        f"in {str(dtype).removeprefix('torch.')}": dtype not in (torch.float32, "float32", "auto"),
        f"in {memory} memory": memory != "normal",
    }
    for asked, refused in wrong.items():
        if refused:
            reason = f"{backend} computes on the CPU in float32, not {asked}"
            raise UsageError(reason, hint="leave that out, or compute with torch", code="torch_only")


def load_exported(folder: Path, backend: Backend) -> FacePipeline:
    """A pipeline of the graphs in a folder, or of those that are kept of the model in it.

    Raises UsageError if a package is missing or the model cannot be exported; OutputError if there is no room.
    """
    export = read_export(folder)
    graphs, export = (folder, export) if export is not None else _kept(folder, backend)
    return load_graphs(PIPELINES[read_info(folder).family], graphs, export, backend, folder)


def keep_exports(folder: Path, asked: Backend | None) -> None:
    """Have the graphs of a model, and of the one that it brings along, in the user's cache folder if they are needed.

    Raises as `load_exported`.
    """
    for model in (folder, folder / BLIND):
        if model.is_dir() and read_export(model) is None and asked not in (None, "torch"):
            _kept(model, asked)


def _kept(folder: Path, backend: Backend) -> tuple[Path, Export]:
    """The graphs of a model in the user's cache folder, written when they are first needed."""
    kept = platformdirs.user_cache_path("faceref") / "exports" / _fingerprint(folder)
    with suppress(CheckpointError):  # of another version, or not whole
        if export := read_export(kept):
            return kept, export
    check_installed([*TO_RUN[backend], *TO_EXPORT["onnx"]])
    logger.info("Exporting the model %s: once, in about a minute, to %s", read_info(folder).name, kept)
    with replaced_folder(kept) as scratch:
        _write(folder, "onnx", scratch)
    export = read_export(kept)
    assert export is not None  # it was written just now
    return kept, export


def _write(folder: Path, format: Format, out: Path) -> None:
    """A model without the one that it brings along."""
    if read_export(folder) is not None:
        raise UsageError("is exported already", subject=folder, hint="give the model itself", code="exported")
    needed = _ROOM * sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))
    free = shutil.disk_usage(out).free
    if free < needed:
        raise OutputError(
            f"cannot be exported: that takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
            subject=folder,
            hint="free some space, or compute with torch",
            code="no_room_to_export",
        )
    info = read_info(folder)
    pipeline = PIPELINES[info.family].from_pretrained(folder)
    export_pipeline(pipeline, format, info.resolution, _fingerprint(folder), out)
    shutil.copy(folder / "faceref.json", out)
    shutil.copytree(folder / "scheduler", out / "scheduler")


def _fingerprint(folder: Path) -> str:
    """16 hexadecimal digits of all that decides what is exported of a model folder."""
    return hashlib.sha256(f"{read_info(folder).resolution} {fingerprint_of(folder)}".encode()).hexdigest()[:16]
