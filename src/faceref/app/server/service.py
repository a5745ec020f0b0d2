"""What the routes work with, and how they get at it and at a request's pictures."""

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive

from faceref.app.server.errors import RefusedError, took_too_long
from faceref.app.server.kept_people import KeptPeople
from faceref.app.server.limits import Limits
from faceref.app.server.owners import Owners
from faceref.app.server.pictures import Picture
from faceref.app.server.queue import JobQueue
from faceref.app.server.schema import Problem
from faceref.people.library import Library
from faceref.people.person import Person
from faceref.restore.restorer import Restorer

T = TypeVar("T")
Check = Callable[..., None]
IN_LINE = 8  # times `megabytes`: what the pictures of requests that wait in turn may have in memory
PIECE = 1 << 18  # bytes sent at once: who reads slowly is not taken for who has stopped (`connections.ANSWER`)
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds, where asking again helps"}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "headers": RETRY_AFTER} for status in ("4XX", "5XX")
}


class Turn:
    """A request that looks for faces: whether its client still waits for it, and for how long it may."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        """receive: ASGI's, of a request whose body has come; seconds: that it may take once it begins."""
        self._receive = receive
        self._seconds = seconds
        self._until = math.inf
        self._has_gone = Event()

    def check(self, *_: object) -> None:
        """Raises RefusedError if it is to end, in the thread that does it."""
        if self._has_gone.is_set():
            raise _gone()
        if time.monotonic() > self._until:
            raise took_too_long(self._seconds, hint="give fewer or smaller photographs")

    async def take(self, work: Callable[[Check], T], limiter: anyio.CapacityLimiter) -> T:
        """What `work` returns, in a thread, when it is this request's turn. Raises as `check` and `work`."""
        done: list[T] = []
        failed: list[Exception] = []

        def begun() -> T:
            self._until = time.monotonic() + self._seconds
            return work(self.check)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks.cancel_scope)
            try:
                done.append(await anyio.to_thread.run_sync(begun, limiter=limiter))
            except Exception as error:  # the group would make one of its own of it
                failed.append(error)
            tasks.cancel_scope.cancel()
        for error in failed:
            raise error
        for one in done:
            return one
        raise _gone()

    async def _watch(self, waiting: anyio.CancelScope) -> None:
        """Leave the line when the client goes, or sends what is not taken from it, or the server ends."""
        try:
            with suppress(HTTPException):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        finally:  # of a server that ends nobody hears any more, and the process waits for its threads
            self._has_gone.set()
        waiting.cancel()


def _gone() -> RefusedError:
    """What nobody hears, and the log has, by the number that nginx gives it."""
    return RefusedError(499, "gone", "The client has gone")


@dataclass
class Line:
    """The requests that wait in turn; size: bytes of their pictures."""

    size: int = 0


@dataclass(frozen=True)
class Service:
    """One model, one queue, and who may use them; people: those in memory.

    looking: lets one request at a time look for faces, beside the worker: each takes a core and much memory. ending:
    the process is, so that nobody is to wait any more.
    """

    restorer: Restorer
    queue: JobQueue
    owners: Owners
    people: KeptPeople
    limits: Limits
    looking: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    line: Line = field(default_factory=Line)
    ending: Event = field(default_factory=Event)

    async def look(self, receive: Receive, work: Callable[[Check], T], pictures: Sequence[bytes] = ()) -> T:
        """Find faces on pictures in a thread, when it is this request's turn, unless its client has gone by then.

        receive: ASGI's; work: is given a `Turn.check` to call now and then. Raises RefusedError, also if too many wait.
        """
        waiting, size = self.looking.statistics().tasks_waiting, sum(map(len, pictures))
        room = IN_LINE * self.limits.megabytes * 2**20 - self.line.size
        if waiting >= self.limits.waiting or size > room:
            reason, wait = f"{waiting} requests are waiting already", {"Retry-After": str(max(1, waiting))}
            raise RefusedError(429, "queue_full", reason, hint="try again later", headers=wait)
        self.line.size += size
        try:
            return await Turn(receive, self.limits.seconds).take(work, self.looking)
        finally:
            self.line.size -= size


@dataclass(frozen=True)
class Caller:
    """A request that was let in."""

    owner: str
    service: Service
    receive: Receive

    async def look(self, work: Callable[[Check], T], pictures: Sequence[bytes] = ()) -> T:
        """See `Service.look`."""
        return await self.service.look(self.receive, work, pictures)

    @property
    def library(self) -> Library:
        return self.service.owners.library(self.owner)

    def person(self, name: str) -> Person:
        """Raises UsageError if nobody is enrolled by that name."""
        return self.service.people.get(self.owner, name)


async def _caller(request: Request) -> Caller:
    service: Service = request.app.state.service
    return Caller(service.owners.of(request.headers), service, request.receive)


CallerOf = Annotated[Caller, Depends(_caller)]


def as_response(picture: Picture, headers: Mapping[str, str] | None = None) -> Response:
    """A picture of somebody, which no cache keeps."""
    of_picture = {"Cache-Control": "no-store", "Content-Length": str(len(picture.data))}
    return StreamingResponse(
        _pieces(picture.data), media_type=picture.media_type, headers={**of_picture, **(headers or {})}
    )


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


async def read_all(uploads: list[UploadFile]) -> tuple[bytes, ...]:
    """The pictures, whose files are gone then; what the client called them is not looked at."""
    pictures = []
    for upload in uploads:
        pictures.append(await upload.read())
        await upload.close()
    return tuple(pictures)
