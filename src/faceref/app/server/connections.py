"""Connections that are opened and left: closed when they say nothing, the oldest first where there are too many."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADING = 10.0  # seconds that a client may take to say what it asks for
ANSWER = 300.0  # seconds that it may take to read the answer and to ask again
MOST = 2000  # connections at once
BACKLOG = 128  # connections that the system accepts before this process has looked at them
_RESERVE = 256  # files that the process needs beside connections


class Server(uvicorn.Server):
    """uvicorn's, which says at once that it is to end, and not after those who wait have been waited for."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)


def most_connections() -> int:
    """MOST, or as many as the process may open files for; that limit is first raised as far as it may be."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    needed = MOST + BACKLOG + _RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(MOST, soft - BACKLOG - _RESERVE)


def bounded_protocol(most: int) -> Any:
    """What uvicorn is to make for each connection, at most so many at once."""
    return partial(BoundedProtocol, quiet={}, most=most)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, which waits for a heading forever, with an end to that.

    A request that has begun is not touched: how long its body may take is `watch.Watch`'s.
    """

    def __init__(self, *arguments: Any, quiet: dict["BoundedProtocol", None], most: int, **options: Any) -> None:
        """quiet: the connections without a request, the oldest first, shared by all; most: connections at once."""
        super().__init__(*arguments, **options)
        self._quiet = quiet
        self._most = most
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._is_quiet(HEADING)
        if len(self.connections) > self._most:
            next(iter(self._quiet)).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._is_busy()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which may begin with the next request
        if self.cycle.response_complete:
            self._is_quiet(ANSWER)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(ANSWER, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reads()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_busy()
        self._reads()
        super().connection_lost(exc)

    def _reads(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _is_quiet(self, seconds: float) -> None:
        self._quiet[self] = None
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _is_busy(self) -> None:
        self._quiet.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
