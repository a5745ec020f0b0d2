"""What the machine is, and how fast it multiplies: beside that stands what a network achieves."""

import os
import platform
import time
from typing import Self

import torch
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
    """Operations a second of the fastest of a few products of large square matrices."""
    side = _SIDE.get(device.type, 2048)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    fastest = float("inf")
    for run in range(1 + _RUNS):
        wait_for(device)
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        wait_for(device)
        if run:
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
