"""The routes of restoring: a photograph becomes a job, which is followed, fetched or cancelled."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

import anyio
from fastapi import APIRouter, File, Form, Header, Path, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from faceref.app.server.errors import FailedJobError, RefusedError
from faceref.app.server.pictures import at_strength, preview
from faceref.app.server.request import JobRequest
from faceref.app.server.schema import Job, Problem, read_options
from faceref.app.server.service import PROBLEMS, RETRY_AFTER, Caller, CallerOf, as_response, read_all
from faceref.restore.options import RestoreOptions

router = APIRouter(prefix="/v1", tags=["restore"], responses=PROBLEMS)

LOOK = 0.05  # seconds between two looks whether something of a job may have changed
UNCHANGED = 2.0  # seconds after which a job is read though nothing has: its time may be over
ALIVE = 15.0  # seconds after which an event stream says that it is still there: proxies cut silent ones
Strength = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="how much of the restored faces is shown, 0 to 1, or of single ones by their numbers",
        examples=["0.5", "1:0.5,3:1"],
    ),
]
Keep = Annotated[bool, Query(description="look at it, and have it kept until its time is over")]
AsJpeg = Annotated[bool, Query(alias="preview", description="as a JPEG, which browsers show")]
PICTURE = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "The picture"}
CONTENT_LOCATION = {"Content-Location": {"schema": {"type": "string"}, "description": "where the job's result is"}}
RESULT = {
    200: PICTURE | {"headers": CONTENT_LOCATION},
    **{status: said | {"headers": RETRY_AFTER | CONTENT_LOCATION} for status, said in PROBLEMS.items()},
}
LOCATION = {"Location": {"schema": {"type": "string"}, "description": "where the job is"}}
EVENTS = {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events with jobs as JSON"}

Photo = Annotated[UploadFile, File(description="the photograph")]
References = Annotated[list[UploadFile], File(description="good photographs of one person")]
Names = Annotated[list[str], Form(description="enrolled people, instead of references", max_length=100)]
Options = Annotated[
    str,
    Form(
        description="RestoreOptions as JSON",
        max_length=10_000,
        examples=['{"seed": 1, "always": true}'],
        json_schema_extra={
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/RestoreOptions"},
        },
    ),
]


@router.post("/restore", status_code=202, response_model=Job, responses={**RESULT, 202: {"headers": LOCATION}})
async def restore(
    caller: CallerOf,
    request: Request,
    response: Response,
    photo: Photo,
    references: References = [],  # noqa: B006 (FastAPI copies it)
    people: Names = [],  # noqa: B006
    options: Options = "{}",
    prefer: Annotated[
        list[str] | None, Header(description="wait=N: the picture itself, if it is done in N seconds")
    ] = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="the same key: the same job, done once")
    ] = None,
) -> Job | Response:
    """Accept a photograph to be restored. It is done also if the server is restarted meanwhile."""
    wait = _seconds(prefer)
    job = await _submitted(caller, photo, references, people, options, idempotency_key)
    until = time.monotonic() + min(wait, caller.service.limits.wait_seconds)
    async for now in _looks(caller, job):
        job = now
        if time.monotonic() >= until or await request.is_disconnected():
            break
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    # who has gone has not fetched it, and may ask for it again
    is_fetched = wait and job.is_over and not await request.is_disconnected()
    return await result(caller, job.id) if is_fetched else job


@router.get("/jobs/{id}")
async def read_job(caller: CallerOf, id: str) -> Job:
    """How far a job is, or what was done."""
    return await _job(caller, id)


@router.get("/jobs/{id}/events", response_class=StreamingResponse, responses={200: EVENTS})
async def events(caller: CallerOf, id: str) -> Response:
    """The job, as server-sent events `job`, whenever something of it changes, until it is over or cancelled."""
    first = await _job(caller, id)
    return StreamingResponse(_events(caller, first), media_type="text/event-stream")


@router.get("/jobs/{id}/result", response_class=Response, responses=RESULT)
async def result(
    caller: CallerOf, id: str, keep: Keep = False, strength: Strength = None, as_jpeg: AsJpeg = False
) -> Response:
    """The picture, in the photograph's format, which the server forgets a minute later if it is not to be kept.

    With another strength it is composed again, not restored again. What a job failed of is forgotten as a picture is.
    """
    queue = caller.service.queue
    wanted = RestoreOptions.of(strength=strength).strength
    where = {"Content-Location": f"/v1/jobs/{id}/result"}
    try:
        picture = await anyio.to_thread.run_sync(queue.result, caller.owner, id)
    except FailedJobError as failed:
        if not keep:
            await anyio.to_thread.run_sync(queue.fetched, caller.owner, id)
        failed.headers = where
        raise
    if wanted is not None:
        picture = await caller.look(
            lambda _: at_strength(queue.upload(caller.owner, id, 0).data, queue.layers(caller.owner, id), wanted)
        )
    if as_jpeg:
        picture = await caller.look(lambda _, data=picture.data: preview(data))
    if not keep:
        await anyio.to_thread.run_sync(queue.fetched, caller.owner, id)
    return as_response(picture, where)


@router.get("/jobs/{id}/photo", response_class=Response, responses={200: PICTURE})
async def photo_of_job(caller: CallerOf, id: str) -> Response:
    """The photograph as it was sent, until the result is deleted, or the job has failed."""
    return as_response(await anyio.to_thread.run_sync(caller.service.queue.upload, caller.owner, id, 0))


@router.get("/jobs/{id}/references/{number}", response_class=Response, responses={200: PICTURE})
async def reference_of_job(caller: CallerOf, id: str, number: Annotated[int, Path(ge=1, le=1000)]) -> Response:
    """A reference as it was sent, the first is number 1, as long as the photograph."""
    return as_response(await anyio.to_thread.run_sync(caller.service.queue.upload, caller.owner, id, number))


@router.delete("/jobs/{id}", status_code=204)
async def cancel(caller: CallerOf, id: str) -> None:
    """Cancel a job, or forget its result: nothing of it is left."""
    await anyio.to_thread.run_sync(caller.service.queue.discard, caller.owner, id)


async def _submitted(
    caller: Caller, photo: UploadFile, references: list[UploadFile], people: list[str], options: str, key: str | None
) -> Job:
    """The pictures are let go when this returns: the queue's file has them, and many may wait for their results."""
    asked = JobRequest((await read_all([photo]))[0], await read_all(references), tuple(people), read_options(options))
    return await anyio.to_thread.run_sync(_accepted, caller, asked, key)


def _accepted(caller: Caller, asked: JobRequest, key: str | None) -> Job:
    service = caller.service
    known = service.queue.accepted(caller.owner, asked, key)
    if known is not None:  # whoever it looks for may be called otherwise by now
        return known
    asked.check(service.limits)
    service.restorer.check(asked.options, with_references=bool(asked.references or asked.people))
    with service.queue.work.naming:  # who is called otherwise from here on is so in the job, too
        photographs_of = tuple(tuple(caller.library.digests(name)) for name in asked.people)  # unknown: said now
        return service.queue.submit(caller.owner, replace(asked, photographs_of=photographs_of), key)


async def _job(caller: Caller, id: str) -> Job:
    return await anyio.to_thread.run_sync(caller.service.queue.get, caller.owner, id)


async def _looks(caller: Caller, job: Job) -> AsyncIterator[Job]:
    """The job at each look, until it is over or the process ends; it is read only where it may have changed.

    Raises RefusedError when it is gone.
    """
    known, read = None, 0.0
    while True:
        yield job
        if job.is_over or caller.service.ending.is_set():
            return
        await anyio.sleep(LOOK)
        now, at = caller.service.queue.glance(job.id), time.monotonic()
        if now != known or at - read > UNCHANGED:
            known, read = now, at
            job = await _job(caller, job.id)


async def _events(caller: Caller, job: Job) -> AsyncIterator[str]:
    said = None
    silent_since = time.monotonic()
    try:
        async for now in _looks(caller, job):
            if now != said:
                yield f"event: job\ndata: {now.model_dump_json()}\n\n"
                said, silent_since = now, time.monotonic()
            elif time.monotonic() - silent_since > ALIVE:
                yield ": still here\n\n"
                silent_since = time.monotonic()
    except RefusedError as error:
        yield f"event: gone\ndata: {Problem.of(error).model_dump_json()}\n\n"


def _seconds(prefer: list[str] | None) -> float:
    """Of `Prefer: wait=N` (RFC 7240), among other preferences and with parameters; 0 where there is none."""
    for preference in ",".join(prefer or ()).split(","):
        name, _, value = (part.strip() for part in preference.partition(";")[0].partition("="))
        if name.lower() == "wait" and value.strip('"').isdecimal():
            return float(value.strip('"'))
    return 0.0
