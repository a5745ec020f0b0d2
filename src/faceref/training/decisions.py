"""What happens after a step, decided once for all processes: clocks and signals differ from one to the other.

Processes that decided each for itself would wait for each other for ever: one in a checkpoint, the other in a backward
pass.
"""

import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from faceref.processes import any_of, is_main

log = logging.getLogger(__name__)

# what Slurm is told to send before it takes the machine away; Windows has none
REQUEUE: int | None = getattr(signal, "SIGUSR1", None)
HEEDED = tuple(number for number in (signal.SIGINT, signal.SIGTERM, REQUEUE) if number is not None)


@dataclass(frozen=True)
class Decision:
    """What all processes do after this step."""

    diverged: bool  # a loss or a gradient somewhere is no finite number
    stop: bool
    requeue: bool  # stop at once, with a checkpoint and nothing else
    checkpoint: bool


class Decisions:
    """Gathers what each process knows: received signals everywhere, the clock of the main process alone."""

    def __init__(self, device: torch.device, checkpoint_minutes: float, max_minutes: float | None) -> None:
        self.device = device
        self.checkpoint_seconds = 60 * checkpoint_minutes
        self.deadline = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.saved = time.monotonic()
        self.received: set[int] = set()

    def after_step(self, finite: bool) -> Decision:
        """Called by every process after every step. finite: whether this process' losses and gradients were."""
        now = time.monotonic()
        flags = {
            "diverged": not finite,
            "stop": bool(self.received) or (is_main() and now > self.deadline),
            "requeue": REQUEUE in self.received,
            "checkpoint": is_main() and now - self.saved > self.checkpoint_seconds,
        }
        return Decision(**any_of(flags, self.device))

    def saved_now(self) -> None:
        """The next checkpoint is due so many minutes from now."""
        self.saved = time.monotonic()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The first Ctrl-C (or SIGTERM, or SIGUSR1) asks the loop to end; the second Ctrl-C interrupts at once."""

        def handle(number: int, frame: Any) -> None:
            if number in self.received and number != REQUEUE:
                raise KeyboardInterrupt
            self.received.add(number)
            log.warning("Stopping after this step; a checkpoint is written first.")

        previous = {number: signal.signal(number, handle) for number in HEEDED}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
