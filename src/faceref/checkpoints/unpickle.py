"""Reads PyTorch checkpoints from outside without ever running what lies in them."""

import os
import pickle
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, _utils

from faceref.errors import CheckpointError

_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): _utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _utils._rebuild_parameter,
    # (torch.load itself resolves the names of storages)
}
LISTED = 8  # keys in an error message, of those that are wrong


class _Inert:
    """Stands where a checkpoint names any other class or function: takes every argument and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> "_Inert":
        return self

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        pass

    def extend(self, items: object) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        return _ALLOWED.get((module_name, global_name), _Inert)


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name (those under "state_dict", if there is such an entry), mapped from disk.

    Tensors are read with `weights_only=True`. Checkpoints that PyTorch then refuses, because objects of other
    libraries lie beside the tensors (as in the released vqgan.ckpt), are read again with inert stubs in their place.

    Raises CheckpointError if the file is missing, damaged, or not a dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}", hint="give the path of the downloaded file")
    in_zip_format = zipfile.is_zipfile(path)
    try:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip_format)
        except pickle.UnpicklingError:
            if not in_zip_format:
                raise
            inert = types.SimpleNamespace(__name__=__name__, Unpickler=_InertUnpickler)
            # Not free unpickling: `inert` resolves names to the few functions above or to stubs.
            checkpoint = torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert, mmap=True)
    except Exception as error:  # a damaged or hostile file can make the reader fail in any way
        reason = "is damaged, incomplete or not a PyTorch checkpoint"
        raise CheckpointError(reason, subject=path, hint="download it again") from error
    state_dict = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state_dict, dict) or not state_dict:
        hint = "give a checkpoint with a state dict"
        raise CheckpointError("holds no dictionary of tensors", subject=path, hint=hint)
    foreign = [
        str(name) for name, value in state_dict.items() if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if foreign:
        reason = f"is not a state dict: it holds entries that are not tensors with names ({list_keys(foreign)})"
        raise CheckpointError(reason, subject=path)
    return state_dict


def list_keys(keys: list[str]) -> str:
    """Keys for an error message: the first few and how many more."""
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more
