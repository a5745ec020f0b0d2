"""Where networks compute, and how long they take there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def best_device() -> torch.device:
    """The first CUDA device, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


class Timings:
    """Seconds by phase, of work on a device that may go on after a call returns: each phase waits for its own.

    with timings("restore"): ... adds to `seconds["restore"]`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
