"""A model in a process of Ray Serve's, which does a task as the server itself would."""

import asyncio
from collections.abc import AsyncIterator
from threading import Event

from faceref.app.server.restoring import Done, Failed, StoppedError, Task, outcome_of, restored
from faceref.compute import Compute
from faceref.restore.request import load_restorer

Progress = tuple[int, int]  # (steps done, steps in all)


class Replica:
    """What Ray Serve makes as many of as it is told to. It keeps nothing of a task."""

    def __init__(self, model: str, compute: Compute) -> None:
        self._restorer = load_restorer(model, compute)

    async def restore(self, task: Task) -> AsyncIterator[Progress | Done | Failed | None]:
        """None when it begins, then how far it is, and last what became of it; who asks no more ends it."""
        loop, told, unwanted = asyncio.get_running_loop(), asyncio.Queue[Progress | Done | Failed](), Event()

        def tell(what: Progress | Done | Failed) -> None:
            loop.call_soon_threadsafe(told.put_nowait, what)

        def check() -> None:
            if unwanted.is_set():
                raise StoppedError

        def on_step(done: int, total: int) -> None:
            check()
            tell((done, total))

        def work() -> None:
            tell(outcome_of(lambda: restored(self._restorer, task, on_step, check)))

        thread = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            yield None
            while isinstance(what := await told.get(), tuple):
                yield what
            yield what
        finally:
            unwanted.set()
            await asyncio.wait({thread})  # the replica is free when it does nothing any more
