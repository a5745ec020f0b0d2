"""Around every request: its id, a line in the log that names no file and no person, its metrics, limits on its body.

Who may not come in is told so before a byte of the body is read. An exception that nobody expected becomes an answer
here, and its place (not its words) a line in the log.
"""

import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Mapping

import anyio
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceref.app.server.errors import RefusedError
from faceref.app.server.limits import Limits
from faceref.app.server.restoring import INTERNAL
from faceref.app.server.schema import Problem

log = logging.getLogger(__name__)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # others are a client's own words
STOPPING = RefusedError(
    503, "stopping", "The server is being stopped", hint="try again later", headers={"Retry-After": "5"}
)
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # of requests; who waits may for minutes
SILENCE = 20.0  # seconds that a client may pause in the middle of its request


class Watch:
    """ASGI middleware, the outermost one."""

    def __init__(
        self, app: ASGIApp, registry: CollectorRegistry, limits: Limits, admit: Callable[[Mapping[str, str]], object]
    ) -> None:
        """admit: raises RefusedError for the headers of who is not let in."""
        self.app = app
        self.limits = limits
        self.admit = admit
        self.arriving: set[Body] = set()  # requests of which the end is not there yet
        labels = ("method", "route", "status")
        self.requests = Counter("faceref_requests", "Requests answered.", labels, registry=registry)
        self.seconds = Histogram(
            "faceref_request_seconds", "Until the answer's end.", ("route",), registry=registry, buckets=SECONDS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        id, started, status = uuid.uuid4().hex, time.monotonic(), 0
        body = Body(receive, self.limits, self.arriving.discard)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", id.encode())]
            await send(message)

        try:
            if method not in ("GET", "HEAD"):
                self._check(Headers(scope=scope))
                self.arriving.add(body)
            await self.app(scope, body.receive, send_with_id)
        except RefusedError as error:
            said = JSONResponse(Problem.of(error).model_dump(), error.status, error.headers)
            await said(scope, receive, send_with_id)
        except anyio.get_cancelled_exc_class():  # by a server that does not wait any longer
            if not status:
                with anyio.CancelScope(shield=True):
                    said = JSONResponse(Problem.of(STOPPING).model_dump(), STOPPING.status, STOPPING.headers)
                    await said(scope, receive, send_with_id)
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("Request %s failed with %s\n%s", id, type(error).__name__, where)
            if not status:
                said = JSONResponse(Problem.of(INTERNAL).model_dump(), 500)
                await said(scope, receive, send_with_id)
        finally:
            self.arriving.discard(body)
            route, seconds = getattr(scope.get("route"), "path", "none"), time.monotonic() - started
            self.requests.labels(method, route, status).inc()
            self.seconds.labels(route).observe(seconds)
            line = {"request": id, "method": method, "route": route, "status": status}
            log.info(json.dumps(line | {"seconds": round(seconds, 3), "bytes": body.received}))

    def _check(self, headers: Mapping[str, str]) -> None:
        """Raises RefusedError for who is not let in, and where too many requests are arriving at once."""
        self.admit(headers)
        if len(self.arriving) >= self.limits.arriving:
            reason = f"{len(self.arriving)} requests are arriving already"
            raise RefusedError(429, "too_many_arriving", reason, hint="try again later", headers={"Retry-After": "5"})


class Body:
    """What a client sends: not too much, not too slowly."""

    def __init__(self, receive: Receive, limits: Limits, on_end: Callable[["Body"], None]) -> None:
        self._receive = receive
        self._limits = limits
        self._on_end = on_end
        self._until = anyio.current_time() + limits.arriving_seconds
        self._has_ended = False
        self.received = 0  # bytes

    async def receive(self) -> Message:
        """ASGI's `receive`. Raises HTTPException for a body that is too large, or does not come."""
        if self._has_ended:  # what comes is that the client has gone
            return await self._receive()
        with anyio.move_on_after(min(SILENCE, self._until - anyio.current_time())) as waited:
            message = await self._receive()
        if waited.cancelled_caught:
            raise HTTPException(408, "The request did not arrive in time", {"Connection": "close"})
        self.received += len(message.get("body", b""))
        if self.received > self._limits.megabytes * 2**20:
            raise HTTPException(413, f"The request is larger than {self._limits.megabytes} MB")
        if not message.get("more_body", False):
            self._has_ended = True
            self._on_end(self)
        return message
