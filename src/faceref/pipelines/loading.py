"""A pipeline from its folder on disk, without foreign code."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, ModelMixin

from faceref.errors import CheckpointError
from faceref.models.loading import load_component
from faceref.pipelines.settings import Sampling, read_sampling

Pipeline = TypeVar("Pipeline", bound=DiffusionPipeline)


def load_components(
    pipeline: type[DiffusionPipeline],
    folder: str | os.PathLike[str],
    known: Mapping[str, Sequence[type[ModelMixin]]],
    dtype: torch.dtype,
    optional: Collection[str] = (),
) -> dict[str, ModelMixin | None]:
    """The networks of what `pipeline.save_pretrained` wrote: those components that are named in `known`.

    Unlike diffusers' own it reads only folders and safetensors, and only ever makes classes that `known` has for a
    component: a model_index.json cannot have other code imported. Those in `optional` may be absent: None.

    Raises CheckpointError if the folder is not such a model.
    """
    folder = Path(folder)
    index = _read_index(folder, pipeline.__name__)
    components: dict[str, ModelMixin | None] = {}
    for name, kinds in known.items():
        kind = _class_in(index, name)
        if kind is None and name in optional:
            components[name] = None
            continue
        if kind not in {kind.__name__ for kind in kinds}:
            raise CheckpointError(f"The model {folder} has a component that faceref does not know: {kind!r}")
        components[name] = load_component(folder, kinds, name, dtype)
    return components


def assemble(pipeline: type[Pipeline], folder: str | os.PathLike[str], components: Mapping[str, Any]) -> Pipeline:
    """A pipeline of its networks and the noise schedule in a model folder.

    Raises CheckpointError if there is no schedule, or the networks do not fit together.
    """
    scheduler = load_scheduler(folder)
    try:
        return pipeline(**components, **{"scheduler": scheduler})
    except Exception as error:  # whatever diffusers makes of parts that do not fit
        raise _cannot_be_loaded(Path(folder), error) from error


def load_scheduler(folder: str | os.PathLike[str]) -> DDIMScheduler:
    """The noise schedule in a model folder. Raises CheckpointError if there is none, or diffusers does not know it."""
    try:
        scheduler: Any = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
        _take_a_step(scheduler)
    except Exception as error:  # whatever a damaged folder makes of diffusers' readers
        raise _cannot_be_loaded(Path(folder), error) from error
    return scheduler


def _take_a_step(scheduler: Any) -> None:
    """Raises whatever diffusers does: only here does it find that a prediction_type or a spacing is none of its own."""
    sampler: Any = DDIMScheduler.from_config(scheduler.config)
    sampler.set_timesteps(1)
    nothing = torch.zeros(1, 1, 1, 1)
    sampler.step(nothing, int(sampler.timesteps[0]), nothing)


def load_sampling(folder: str | os.PathLike[str]) -> Sampling | None:
    """How a model samples, by the faceref.json in its folder; None if there is none. Raises CheckpointError."""
    try:
        return read_sampling(Path(folder))
    except (OSError, ValueError) as error:
        raise _cannot_be_loaded(Path(folder), error) from error


def _read_index(folder: Path, wanted: str) -> dict[str, Any]:
    """model_index.json of a folder that holds a pipeline of the class `wanted`."""
    try:
        index = json.loads((folder / "model_index.json").read_bytes())
        found = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _cannot_be_loaded(folder, error) from error
    if found != wanted:
        raise CheckpointError(f"The model {folder} is for {found}, not for {wanted}")
    return index


def _class_in(index: Mapping[str, Any], name: str) -> Any:
    """The class that an index names for a component: [library, class]; None if it has none."""
    entry = index.get(name)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None


def _cannot_be_loaded(folder: Path, error: Exception) -> CheckpointError:
    reason = str(error).partition("\n")[0]
    return CheckpointError(f"The model {folder} cannot be loaded ({reason})", hint="import or download it again")
