"""Which number format a network computes in fastest: measured on this machine in some 60 ms, and remembered.

It cannot be assumed: bfloat16 was half as fast as float32 on one Xeon and twice as fast on an EPYC.
"""

import json
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import get_args

import platformdirs
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from faceref.compute import DtypeName
from faceref.devices import wait_for
from faceref.errors import OutputError, UsageError
from faceref.files import write_atomically

FILE = "precision.json"  # in the user's cache folder
ENOUGH = 0.8  # of float32's time: bfloat16 rounds, and is taken where that pays
OPERATIONS = 5e7
RUNS = 2  # of each layer, after one that warms up; the fastest counts
_CPU = ("model name", "cpu family", "model", "stepping")


@dataclass(frozen=True)
class LayerSize:
    """A 3x3 convolution of `channels` to as many on side x side pixels, and a matrix product of the same sizes."""

    channels: int
    side: int


class _Seconds(TypedDict):
    """Of layers, by number format."""

    float32: float
    bfloat16: float


def to_dtype(
    dtype: torch.dtype | DtypeName, device: torch.device, sizes: Sequence[LayerSize], cache: Path | None = None
) -> torch.dtype:
    """The number format that is meant; auto: float32, or bfloat16 where that is faster by a fifth or more.

    sizes: of the network's layers. cache: the folder where what was measured is kept, the user's cache folder if None.
    Raises UsageError for any other name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in get_args(DtypeName):
        choices = ", ".join(get_args(DtypeName))
        raise UsageError(f"There is no number format {dtype!r}", hint=f"choose one of {choices}", code="no_dtype")
    return _fastest(device, sizes, cache) if dtype == "auto" else getattr(torch, dtype)


def _fastest(device: torch.device, sizes: Sequence[LayerSize], cache: Path | None) -> torch.dtype:
    path = (cache or platformdirs.user_cache_path("faceref")) / FILE
    key = f"{device_name(device)}, torch {torch.__version__}, {[astuple(size) for size in sizes]}"
    known = _read(path)
    if key not in known:
        float32, bfloat16 = (probe(device, dtype, sizes) for dtype in (torch.float32, torch.bfloat16))
        known[key] = {"float32": float32, "bfloat16": bfloat16}
        with suppress(OutputError), write_atomically(path) as temporary:  # where it cannot be kept it is measured again
            temporary.write_text(json.dumps(known, indent=2) + "\n")
    seconds = known[key]
    return torch.bfloat16 if seconds["bfloat16"] < ENOUGH * seconds["float32"] else torch.float32


def probe(device: torch.device, dtype: torch.dtype, sizes: Sequence[LayerSize]) -> float:
    """Seconds that layers of these sizes take; infinite where the device does not have the number format."""
    try:
        with torch.no_grad():
            return sum(_seconds(device, dtype, size) for size in sizes)
    except RuntimeError:
        return float("inf")


def _seconds(device: torch.device, dtype: torch.dtype, size: LayerSize) -> float:
    """Of a layer with all its pixels, as a part of them tells it."""
    pixels = min(size.side**2, max(int(OPERATIONS / (18 * size.channels**2)), 64))
    side = max(int(pixels**0.5), 1)
    x = torch.ones(1, size.channels, side, side, device=device, dtype=dtype)
    weight = torch.ones(size.channels, size.channels, 3, 3, device=device, dtype=dtype)
    tokens, matrix = x.flatten(2).transpose(1, 2), weight[:, :, 0, 0].contiguous()
    fastest = float("inf")
    for run in range(1 + RUNS):
        wait_for(device)
        start = time.perf_counter()
        F.conv2d(x, weight, padding=1)
        F.linear(tokens, matrix)
        wait_for(device)
        if run:
            fastest = min(fastest, time.perf_counter() - start)
    return fastest * size.side**2 / side**2


def _read(path: Path) -> dict[str, _Seconds]:
    """What was measured before; nothing where the file is missing or damaged."""
    try:
        return TypeAdapter(dict[str, _Seconds]).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return {}


def device_name(device: torch.device) -> str:
    """The model of a GPU or of the CPU, as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    said: dict[str, str] = {}
    with suppress(OSError):
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        said = {name.strip(): value.strip() for name, _, value in lines}
    name = " ".join(said[key] for key in _CPU if key in said) or platform.processor() or platform.machine()
    return f"{device.type} {name} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
