"""The HTTP server: what it is made of, and what all its routes share."""

import errno
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

from faceref.app.server import jobs
from faceref.app.server.engine import Engine, LocalEngine
from faceref.app.server.errors import RefusedError, status_of
from faceref.app.server.kept_people import KeptPeople
from faceref.app.server.limits import Limits
from faceref.app.server.metrics import JobsCollector
from faceref.app.server.owners import Owners
from faceref.app.server.page import Page
from faceref.app.server.people import router as people_router
from faceref.app.server.queue import JobQueue
from faceref.app.server.schema import Problem
from faceref.app.server.service import Service
from faceref.app.server.watch import Watch
from faceref.app.server.worker import Worker
from faceref.errors import FacerefError
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

log = logging.getLogger(__name__)
NOT_LET_IN = {
    "description": "Who is not let in",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
DESCRIPTION = """Restore faces in photographs so that they stay the persons they are.

A restored face is partly invented: where the photograph holds nothing, it is a guess led by the references."""


def create_app(
    restorer: Restorer,
    tokens: Sequence[str] = (),
    data_dir: Path | None = None,
    limits: Limits | None = None,
    engines: Sequence[Engine] = (),
) -> FastAPI:
    """The server with one model. tokens: who is let in, everybody who reaches it if there are none.

    data_dir: where people and jobs are kept. engines: what restores, each with a worker; by default `restorer`, which
    in any case looks for faces and checks requests. Raises OutputError if the folder cannot be used, or another server
    uses it.
    """
    limits = limits or Limits()
    owners = Owners(tokens, data_dir)
    queue = JobQueue(owners.jobs_folder, limits)
    people = KeptPeople(owners.library)
    workers = [Worker(queue.work, one, people, limits) for one in engines or [LocalEngine(restorer)]]
    service = Service(restorer, queue, owners, people, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()
        queue.close()

    # Its pages of documentation would load scripts from elsewhere
    app = FastAPI(
        title="faceref",
        version=version("faceref"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    registry = CollectorRegistry()
    registry.register(JobsCollector(queue.work))
    app.add_middleware(Watch, registry=registry, limits=limits, admit=owners.of)  # type: ignore[arg-type]
    secured = [Security(HTTPBearer(auto_error=False))] if tokens else []  # Watch lets in; this tells others how to ask
    app.include_router(jobs.router, dependencies=secured)
    app.include_router(people_router, dependencies=secured)
    _add_error_handlers(app)
    app.openapi = partial(_described, app)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["server"])
    async def healthz() -> str:
        """Whether the process answers."""
        return "ok"

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", tags=["server"], responses={503: {"model": Problem}})
    async def readyz() -> str:
        """Whether jobs are done."""
        if not all(worker.is_ready for worker in workers):
            raise RefusedError(503, "not_ready", "A worker cannot work", hint="look at the log, or start it again")
        if queue.is_full:
            raise RefusedError(503, "disk_full", "The disk of the data folder is full", hint="free some space")
        return "ok"

    @app.get(
        "/metrics",
        tags=["server"],
        dependencies=secured,
        response_class=PlainTextResponse,
        responses={401: NOT_LET_IN, 403: NOT_LET_IN},
    )
    def metrics(request: Request) -> Response:
        """For Prometheus; they name nobody."""
        owners.of(request.headers)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.router.default = Page()  # all that is no route
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """openapi.json, with the options that requests carry as JSON."""
    if app.openapi_schema is None:
        app.openapi_schema = FastAPI.openapi(app)
        options = RestoreOptions.model_json_schema(ref_template="#/components/schemas/{model}")
        app.openapi_schema["components"]["schemas"] |= options.pop("$defs", {}) | {"RestoreOptions": options}
    return app.openapi_schema


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(FacerefError)
    async def ours(_: Request, error: FacerefError) -> JSONResponse:
        headers = error.headers if isinstance(error, RefusedError) else None
        return JSONResponse(Problem.of(error).model_dump(), status_of(error), headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        # numbers in "loc" are places in a list, or in JSON's text
        field = next(part for part in reversed(first["loc"]) if isinstance(part, str))
        reason, hint = f"cannot be used: {first['msg']}", None
        if "UploadFile" in first["msg"]:
            reason, hint = "is no file", f"send one: with curl, -F {field}=@NAME"
        elif first["type"] == "model_attributes_type":  # as where it is not said that it is JSON
            reason, hint = "is no JSON object", "send one, with the header Content-Type: application/json"
        return JSONResponse(Problem(code="request", subject=field, reason=reason, hint=hint).model_dump(), 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        if getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):  # of $TMPDIR
            log.error("An upload cannot be kept: %s", error.__cause__)
            full = Problem(code="disk_full", subject=None, reason="An upload cannot be kept", hint="try again later")
            return JSONResponse(full.model_dump(), 507)
        said = Problem(code=f"http_{error.status_code}", subject=None, reason=error.detail, hint=None)
        return JSONResponse(said.model_dump(), error.status_code, error.headers)
