"""What the routes work with, and how they get at it and at a request's pictures."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from faceref.app.server.errors import RefusedError
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
IN_LINE = 8  # times `megabytes`: what the pictures of requests that wait in turn may have in memory
PIECE = 1 << 18  # bytes sent at once: who reads slowly is not taken for who has stopped (`connections.ANSWER`)
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds, where asking again helps"}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "headers": RETRY_AFTER} for status in ("4XX", "5XX")
}


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

    async def look(self, work: Callable[[], T], pictures: Sequence[bytes] = ()) -> T:
        """Find faces on pictures in a thread, when it is this request's turn. Raises RefusedError if too many wait."""
        waiting, size = self.looking.statistics().tasks_waiting, sum(map(len, pictures))
        room = IN_LINE * self.limits.megabytes * 2**20 - self.line.size
        if waiting >= self.limits.waiting or size > room:
            reason, wait = f"{waiting} requests are waiting already", {"Retry-After": str(max(1, waiting))}
            raise RefusedError(429, "queue_full", reason, hint="try again later", headers=wait)
        self.line.size += size
        try:
            return await anyio.to_thread.run_sync(work, limiter=self.looking)
        finally:
            self.line.size -= size


@dataclass(frozen=True)
class Caller:
    """A request that was let in."""

    owner: str
    service: Service

    @property
    def library(self) -> Library:
        return self.service.owners.library(self.owner)

    def person(self, name: str) -> Person:
        """Raises UsageError if nobody is enrolled by that name."""
        return self.service.people.get(self.owner, name)


async def _caller(request: Request) -> Caller:
    service: Service = request.app.state.service
    return Caller(service.owners.of(request.headers), service)


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
