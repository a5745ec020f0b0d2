"""How fast training is, and how fast this device could be."""

import time

import torch

SIDE = {"cuda": 8192}  # of the matrices whose product is timed: large enough for the device's peak
SIDE_ELSEWHERE = 1536


class SpeedWindow:
    """Samples per second since the last `restart` or reading."""

    def __init__(self, samples_per_step: int):
        self.samples_per_step = samples_per_step
        self.restart()

    def restart(self) -> None:
        self.started, self.steps = time.perf_counter(), 0

    def count(self) -> None:
        self.steps += 1

    def samples_per_second(self) -> float:
        speed = self.steps * self.samples_per_step / max(1e-9, time.perf_counter() - self.started)
        self.restart()
        return speed


def matmul_flops_per_second(device: torch.device, precision: str) -> float:
    """What a large matrix product reaches on this device: the peak that utilisation is given against."""
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = SIDE.get(device.type, SIDE_ELSEWHERE)
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)
