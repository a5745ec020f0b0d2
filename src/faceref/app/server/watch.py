"""Around every request: its id, a line in the log that names no file and no person, its metrics, a limit on its bytes.

An exception that nobody expected becomes an answer here, and its place (not its words) a line in the log.
"""

import json
import logging
import time
import traceback
import uuid

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceref.app.server.schema import Problem
from faceref.app.server.worker import INTERNAL

log = logging.getLogger(__name__)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # others are a client's own words


class Watch:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes
        labels = ("method", "route", "status")
        self.requests = Counter("faceref_requests", "Requests answered.", labels, registry=registry)
        self.seconds = Histogram("faceref_request_seconds", "Until the answer's end.", ("route",), registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        id, started, status, received = uuid.uuid4().hex, time.monotonic(), 0, 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", id.encode())]
            await send(message)

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, f"The request is larger than {self.max_bytes // 2**20} MB")
            return message

        try:
            await self.app(scope, receive_bounded, send_with_id)
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("Request %s failed with %s\n%s", id, type(error).__name__, where)
            if not status:
                said = JSONResponse(Problem.of(INTERNAL).model_dump(), 500)
                await said(scope, receive, send_with_id)
        finally:
            route, seconds = getattr(scope.get("route"), "path", "none"), time.monotonic() - started
            self.requests.labels(method, route, status).inc()
            self.seconds.labels(route).observe(seconds)
            line = {"request": id, "method": method, "route": route, "status": status}
            log.info(json.dumps(line | {"seconds": round(seconds, 3), "bytes": received}))
