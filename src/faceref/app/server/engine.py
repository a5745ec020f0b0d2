"""What restores: a model in this process, or whatever else takes a task and says how far it is."""

import time
from collections.abc import Sequence
from threading import Event
from typing import Protocol

from faceref.app.server.errors import took_too_long
from faceref.app.server.restoring import Done, Failed, StoppedError, Task, restored
from faceref.app.server.work import Work
from faceref.compute import Compute
from faceref.restore.request import load_restorer
from faceref.restore.restorer import Restorer


class Attempt:
    """One go at a job: says how far it is, and ends when the job is not wanted any more or takes too long."""

    def __init__(self, work: Work, id: str, seconds: float, ending: Event) -> None:
        """seconds: that it may take once it has begun; ending: the server is."""
        self._work = work
        self._id = id
        self._seconds = seconds
        self._ending = ending
        self._steps: tuple[int, int | None] = (0, None)
        self._began: float | None = None

    def begin(self) -> None:
        """Its time begins: what restores has turned to it."""
        self._began = time.monotonic()

    @property
    def seconds(self) -> float | None:
        """Since it has begun; None before."""
        return None if self._began is None else time.monotonic() - self._began

    def on_step(self, done: int, total: int) -> None:
        """Raises as `check`."""
        self._steps = (done, total)
        self.check()

    def check(self) -> None:
        """Raises StoppedError if it is to end, FacerefError if its time is over."""
        if not self._work.report(self._id, *self._steps) or self._ending.is_set():
            raise StoppedError
        if (self.seconds or 0) > self._seconds:
            raise took_too_long(self._seconds, hint="ask for fewer steps")


class Engine(Protocol):
    """Does one task at a time for each worker that has it."""

    def restore(self, task: Task, attempt: Attempt) -> Done | Failed:
        """Raises NotOverError where the attempt has ended and the job has not, and what `attempt` raises."""
        ...


class LocalEngine:
    """A model in this process, which several workers may share."""

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer

    def restore(self, task: Task, attempt: Attempt) -> Done:
        attempt.begin()
        return restored(self.restorer, task, attempt.on_step, attempt.check)


def local_engines(model: str, computes: Sequence[Compute]) -> list[LocalEngine]:
    """One for each worker, on its device; those that are named twice share a model. Raises as `load_restorer`."""
    loaded = {compute: LocalEngine(load_restorer(model, compute)) for compute in dict.fromkeys(computes)}
    return [loaded[compute] for compute in computes]
