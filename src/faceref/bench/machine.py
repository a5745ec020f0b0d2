"""What the machine is, and how fast it multiplies: beside that stands what a network achieves."""

import os
import platform
import time
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel

from faceref.devices import wait_for
from faceref.precision import device_name

_SIDE = {"cpu": 1024, "cuda": 8192}  # of a matrix that takes a device some tens of milliseconds
_RUNS = 5


class Machine(BaseModel):
    """device: its model and, of a CPU, its threads; load: of the last minute, as `uptime` has it, before measuring."""

    device: str
    system: str
    pytorch: str
    load: float | None

    @classmethod
    def here(cls, device: torch.device) -> Self:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return cls(device=device_name(device), system=platform.platform(), pytorch=torch.__version__, load=load)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest of a few products of large square matrices.

    As products, and as 1x1 convolutions, which another library computes (`faceref.models.attention`).
    """
    side = _SIDE.get(device.type, 2048)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    pictures = matrix.view(32, -1, 1, side).permute(0, 3, 1, 2)  # channels last
    weight = matrix[..., None, None]
    fastest = float("inf")
    for multiply in (lambda: torch.mm(matrix, matrix), lambda: F.conv2d(pictures, weight)):
        multiply()
        for _ in range(_RUNS):
            wait_for(device)
            start = time.perf_counter()
            multiply()
            wait_for(device)
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
