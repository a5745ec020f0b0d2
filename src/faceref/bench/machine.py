"""What the machine is that is measured."""

import os
import platform
from typing import Self

import torch
from pydantic import BaseModel

from faceref.precision import device_name


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
