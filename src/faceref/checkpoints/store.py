"""Models on disk: how they are written and loaded."""

import json
import os
from pathlib import Path
from typing import get_args

import torch

from faceref.checkpoints.exported import backend_for, check_computes, load_exported
from faceref.checkpoints.info import BLIND, ModelInfo, find_model, read_info
from faceref.compute import Backend, DtypeName, Memory
from faceref.devices import best_device, check_device
from faceref.errors import UsageError
from faceref.files import new_folder
from faceref.models.autoencoder import AUTOENCODERS
from faceref.models.ldbfr import RestoringVQModel
from faceref.models.loading import load_component
from faceref.pipelines.families import PIPELINES
from faceref.pipelines.protocol import FacePipeline
from faceref.precision import LayerSize, to_dtype


def load_pipeline(
    name_or_path: str | os.PathLike[str],
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | DtypeName = torch.float32,
    memory: Memory = "normal",
    backend: Backend | None = None,
) -> tuple[FacePipeline, ModelInfo]:
    """A model ready to restore, and its description. No code of the folder is ever run.

    device, dtype, memory, backend: see `faceref.compute.Compute`.
    Raises UsageError (no such model or device, a backend that is not installed) or CheckpointError (a damaged folder, a
    component of a foreign class, an export of another version).
    """
    for what, one, choices in (("memory", memory, Memory), ("backend", backend or "torch", Backend)):
        if one not in get_args(choices):
            raise UsageError(f"There is no {what} {one!r}", hint=f"choose one of {', '.join(get_args(choices))}")
    folder = find_model(name_or_path)
    info = read_info(folder)
    chosen = backend_for(folder, backend)
    if chosen != "torch":
        check_computes(chosen, device, dtype, memory)
        return load_exported(folder, chosen), info
    device = best_device() if device is None else check_device(device)
    number_format = to_dtype(dtype, device, _layer_sizes(folder, info))
    pipeline = PIPELINES[info.family].from_pretrained(folder, torch_dtype=number_format)
    return place(pipeline, device, memory), info


def place(pipeline: FacePipeline, device: torch.device, memory: Memory) -> FacePipeline:
    """A pipeline where it is to compute, in as much memory as it may take (see `faceref.compute.Compute`)."""
    pipeline.set_progress_bar_config(disable=True)  # whoever loads a model by its name has a bar of his own
    if memory == "low":
        pipeline.enable_vae_tiling()
        if device.type != "cpu":
            pipeline.enable_sequential_cpu_offload(device=device)
            return pipeline
    return pipeline.to(device)


def load_blind(
    name_or_path: str | os.PathLike[str],
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | DtypeName = torch.float32,
    memory: Memory = "normal",
    backend: Backend | None = None,
) -> tuple[FacePipeline, ModelInfo] | None:
    """The model that a model brings along for photographs without references, if any; as `load_pipeline`."""
    folder = find_model(name_or_path) / BLIND
    return load_pipeline(folder, device, dtype, memory, backend) if folder.is_dir() else None


def _layer_sizes(folder: Path, info: ModelInfo) -> list[LayerSize]:
    """Of the denoiser, a size for each of its levels; nothing where its description is damaged, which loading says."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_bytes())
        side = int(config.get("sample_size") or info.resolution // 8)
        return [LayerSize(int(width), side >> level) for level, width in enumerate(config["block_out_channels"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def save_model(
    pipeline: FacePipeline,
    info: ModelInfo,
    folder: str | os.PathLike[str],
    blind: tuple[FacePipeline, ModelInfo] | None = None,
) -> None:
    """Write a model folder: all of it or none. Raises OutputError if it exists already or cannot be written.

    blind: the model to use when there are no references; it goes to the folder blind/ inside.
    """
    with new_folder(Path(folder)) as scratch:
        _write(pipeline, info, scratch)
        if blind is not None:
            _write(*blind, scratch / BLIND)


def copy_network(folder: str | os.PathLike[str], out: Path, dtype: torch.dtype) -> str:
    """Copy what a stage leaves that trains an autoencoder, as other stages are given it; returns its class.

    Raises CheckpointError for what is no such network, OutputError if `out` exists already or cannot be written.
    """
    network = load_component(folder, (*AUTOENCODERS, RestoringVQModel), "vae", dtype)
    with new_folder(out) as scratch:
        network.save_pretrained(scratch)
    return type(network).__name__


def _write(pipeline: FacePipeline, info: ModelInfo, folder: Path) -> None:
    pipeline.save_pretrained(folder, safe_serialization=True)
    for path in folder.glob("*/config.json"):  # diffusers notes where a network was loaded from: nobody else's business
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "faceref.json").write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
