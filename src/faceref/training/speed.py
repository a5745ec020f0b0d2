"""How fast training is."""

import time


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
