"""One piece of work measured: seconds, the memory that the device held meanwhile, and multiplications counted."""

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from faceref.allocator import give_back_freed_memory
from faceref.devices import wait_for

_PEAK_IS_NOW = "5"  # what proc(5) has for clear_refs


@dataclass(frozen=True)
class Measured:
    """seconds: the median of several runs; memory: bytes at the peak; flops: of products and convolutions, each
    multiplication and addition one."""

    seconds: float
    memory: int
    flops: int


def measure(work: Callable[[], object], device: torch.device, repetitions: int) -> Measured:
    """Do the work once to warm up and to count, then so many times with a clock."""
    with torch.no_grad(), count_flops() as counter:
        work()
    reset_peak_memory(device)
    durations = []
    for _ in range(repetitions):
        wait_for(device)
        start = time.perf_counter()
        with torch.no_grad():
            work()
        wait_for(device)
        durations.append(time.perf_counter() - start)
    return Measured(statistics.median(durations), peak_memory(device), counter.get_total_flops())


def count_flops() -> FlopCounterMode:
    """Counts those of matrix products, convolutions and attention while it is entered."""
    return FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    )


def reset_peak_memory(device: torch.device) -> None:
    """Begin to look for the peak anew, where that is possible: on CUDA, and of a process on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back_freed_memory()  # which is nobody's, and would count
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_PEAK_IS_NOW)


def peak_memory(device: torch.device) -> int:
    """Bytes at most since `reset_peak_memory`: of the GPU's memory where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # which Windows has not

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, since the process began


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of the CPU's attention, which torch's counter does not know: the arguments are shapes."""
    return sdpa_flop_count(query, key, value)
