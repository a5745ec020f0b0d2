"""Where networks compute, how fast that is at its best, and how long they take there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from accelerate.utils.memory import should_reduce_batch_size

from faceref.errors import UsageError

PEAK_SIDE = {"cpu": 1024, "cuda": 8192}  # of a matrix that takes a device some tens of milliseconds
PEAK_RUNS = 5  # of each kind of product, after one that warms up


def best_device() -> torch.device:
    """The first CUDA device, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def check_device(device: torch.device | str) -> torch.device:
    """The device that a name means. Raises UsageError if there is no such device here."""
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch's parts say it, each in its own way
        raise UsageError(
            f"The device {device} is not here", hint="choose one of cuda, mps and cpu that is", code="no_device"
        ) from error
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, a GPU or the CPU, had too little memory for what was asked of it."""
    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def wait_for(device: torch.device) -> None:
    """Return when a device has done all that it was given: a GPU's calls return before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest of a few products of large square matrices: what networks are compared with.

    As products, and as 1x1 convolutions, which another library computes (`faceref.models.attention`).
    """
    side = PEAK_SIDE.get(device.type, 2048)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    pictures = matrix.view(32, -1, 1, side).permute(0, 3, 1, 2)  # channels last
    weight = matrix[..., None, None]
    fastest = float("inf")
    for multiply in (lambda: torch.mm(matrix, matrix), lambda: F.conv2d(pictures, weight)):
        multiply()
        for _ in range(PEAK_RUNS):
            wait_for(device)
            start = time.perf_counter()
            multiply()
            wait_for(device)
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest


class Timings:
    """Seconds by phase, of work on a device that may go on after a call returns: each phase waits for its own alone.

    with timings("restore"): ... adds to `seconds["restore"]`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        wait_for(self.device)
        start = time.perf_counter()
        yield
        wait_for(self.device)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
