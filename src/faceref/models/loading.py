"""The one loader of networks from disk: known classes and safetensors only, whole and finite, or a sentence why not."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import torch
from diffusers import ModelMixin

from faceref.errors import CheckpointError
from faceref.models import low_rank

Component = TypeVar("Component", bound=ModelMixin)


def load_component(
    folder: str | os.PathLike[str],
    kinds: Sequence[type[Component]],
    subfolder: str,
    dtype: torch.dtype = torch.float32,
) -> Component:
    """Read what `save_pretrained` wrote, in eval mode: `subfolder` of a model folder, or `folder` itself.

    kinds: the classes that it may be; config.json says which of them it is, and nothing else is ever made of it.

    Raises CheckpointError if there is none or it is damaged: another class, weights missing, left over, of other shapes
    or not finite.
    """
    folder, kind = find_component(folder, kinds, subfolder)
    change = folder / low_rank.FILE
    is_changed = change.is_file()
    settings = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    try:
        component, report = cast(
            tuple[Component, dict[str, list]],
            kind.from_pretrained(folder, torch_dtype=torch.float32 if is_changed else dtype, **settings),
        )
    except Exception as error:  # whatever a damaged folder makes of the readers of json, safetensors and diffusers
        raise _unusable(folder, kind.__name__, str(error).partition("\n")[0]) from error
    wrong = [name for problem in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in report[problem]]
    if wrong:
        raise _unusable(folder, kind.__name__, f"{wrong[0]} is missing, left over or of another shape")
    if is_changed:
        try:
            low_rank.apply_change(component, change)
            torch.nn.Module.to(component, dtype)  # rounded once; diffusers' own warns of nothing here
        except Exception as error:  # whatever a damaged file makes of safetensors and torch
            raise _unusable(folder, kind.__name__, str(error).partition("\n")[0]) from error
    check_finite(component, folder)
    return component


def find_component(
    folder: str | os.PathLike[str], kinds: Sequence[type[Component]], subfolder: str
) -> tuple[Path, type[Component]]:
    """The folder that `load_component` would read, and which of `kinds` it says that it holds; no weights are read.

    Raises CheckpointError if there is none, or one of another class.
    """
    folder = Path(folder)
    folder = folder / subfolder if (folder / subfolder).is_dir() else folder
    return folder, _kind_of(folder, kinds)


def check_finite(network: torch.nn.Module, subject: object) -> None:
    """Raise CheckpointError about `subject` if a weight is NaN or infinite, as after a training that blew up."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"has weights that are not finite numbers ({name})",
                subject=subject,
                hint="go back to an earlier checkpoint of its training",
                code="not_finite",
            )


def weights_fingerprint(*networks: torch.nn.Module) -> str:
    """16 hexadecimal digits that tell networks from those with any other weights, precision or settings."""
    digest = hashlib.sha256()
    for network in networks:
        own = {name: value for name, value in getattr(network, "config", {}).items() if not name.startswith("_")}
        digest.update(type(network).__name__.encode() + json.dumps(own, sort_keys=True, default=str).encode())
        for name, tensor in network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _kind_of(folder: Path, kinds: Sequence[type[Component]]) -> type[Component]:
    """Which of `kinds` a folder says that it holds."""
    wanted = " or ".join(kind.__name__ for kind in kinds)
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"There is no {wanted} in {folder}", hint="train the stage before, or give its folder")
    try:
        found = json.loads(path.read_bytes())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(folder, wanted, str(error)) from error
    known = {kind.__name__: kind for kind in kinds}
    if found not in known:
        raise CheckpointError(f"holds a {found}, not a {wanted}", subject=folder)
    return known[found]


def _unusable(folder: Path, wanted: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"There is no usable {wanted} in {folder}: {reason}", hint="train, import or download it again"
    )
