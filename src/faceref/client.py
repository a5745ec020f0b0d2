"""A client of `faceref serve`: the server's routes as functions, its problems as errors.

client = Client("http://127.0.0.1:8000")
restored = client.restore("old.jpg", references=["a.jpg", "b.jpg"])
Path("restored.jpg").write_bytes(restored.data)
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2 as httpx
from pydantic import TypeAdapter, ValidationError

from faceref.app.server.schema import AddedPhotos, EnrolledPerson, Job, NewPerson, PersonDetails
from faceref.errors import FacerefError
from faceref.restore.account import Account
from faceref.restore.options import Options, RestoreOptions, Strength, options_of

PAUSE = 0.5  # seconds before a job is asked for whose stream of events has ended early
PATIENCE = 60.0  # seconds that a server may be away meanwhile, as while it is started anew
SILENT = 660.0  # seconds that it may say nothing while it looks for faces, enrolls, or does so for others first
AWAY = (502, 503, 504)  # a proxy's answers in the place of a server that does not

Source = str | Path | bytes
Sources = Source | Sequence[Source]
Names = str | Sequence[str]
T = TypeVar("T")


class ServerError(FacerefError):
    """What the server said; `code` tells what it is about, `status` is HTTP's, retry_after in seconds if it said."""

    def __init__(self, answer: httpx.Response) -> None:
        try:
            said = json.loads(answer.read())
            parts = {key: said[key] for key in ("reason", "subject", "hint", "code")}
        except (ValueError, LookupError, TypeError):  # something between here and the server
            what = (
                "What answered is no server of faceref, or one of another version"
                if answer.is_success
                else f"The answer was {answer.status_code}"
            )
            parts = {"reason": what, "code": f"http_{answer.status_code}"}
            if location := answer.headers.get("location"):
                parts["hint"] = f"use the address it names: {location}"
        super().__init__(**parts)
        self.status = answer.status_code
        wait = answer.headers.get("retry-after", "")
        self.retry_after = int(wait) if wait.isdecimal() else None


@dataclass(frozen=True)
class Restored:
    """A restored photograph as a file's bytes, and the account of it."""

    data: bytes
    media_type: str
    account: Account


class Client:
    """One server, one token. Every function raises ServerError, and httpx2's errors where no server answers."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout: float = 60,
        http: httpx.Client | None = None,
    ) -> None:
        """timeout: seconds without a sign of life, SILENT at least for what waits its turn: faces, enrolling, strength.

        http: another client of HTTP instead, with its own address.
        """
        self._http = http or httpx.Client(base_url=url, timeout=timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def restore(
        self,
        photo: Source,
        references: Sources = (),
        people: Names = (),
        options: Options = RestoreOptions(),
        *,
        on_change: Callable[[Job], None] = lambda job: None,
    ) -> Restored:
        """Restore a photograph and leave nothing on the server. on_change: is told how far it is."""
        job = self.submit(photo, references, people, options)
        try:
            while not job.is_over:
                with _may_break():
                    for seen in self.follow(job.id):
                        job = seen
                        on_change(seen)
                if not job.is_over:  # something between here and the server has ended the stream
                    time.sleep(PAUSE)
                    job = _patiently(lambda id=job.id: self.job(id))
            data, media_type = _patiently(lambda: self.result(job.id))  # raises what a failed job failed of
        finally:
            with suppress(ServerError, httpx.HTTPError):  # it is gone already, or what is being raised says more
                self.cancel(job.id)
        assert job.account is not None  # it is done
        return Restored(data, media_type, job.account)

    def submit(
        self,
        photo: Source,
        references: Sources = (),
        people: Names = (),
        options: Options = RestoreOptions(),
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Have a photograph restored later. The same key: the same job, however often it is sent."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        form = _form(photo, references, people, options)
        return self._model(Job, self._send("POST", "/v1/restore", headers=headers, **form))

    def job(self, id: str) -> Job:
        return self._model(Job, self._send("GET", _job(id)))

    def follow(self, id: str) -> Iterator[Job]:
        """The job whenever something of it changes, until it is over or cancelled."""
        with self._http.stream("GET", f"{_job(id)}/events", headers=self._headers) as answer:
            _check_is(answer, "text/event-stream")
            event = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    event = value
                elif field == "data" and event == "job":
                    yield Job.model_validate_json(value)

    def result(self, id: str, *, strength: Strength | None = None, keep: bool = False) -> tuple[bytes, str]:
        """The picture and its media type.

        strength: show so much of the restored faces, 0 to 1, or of single ones by their numbers, without restoring
        again. keep: until its time is over.
        """
        look = {"keep": keep} | ({} if strength is None else {"strength": _typed(strength)})
        send = self._send if strength is None else self._look  # it is composed when it is its turn
        answer = send("GET", f"{_job(id)}/result", "image/", params=look)
        return answer.content, answer.headers["content-type"]

    def cancel(self, id: str) -> None:
        """Cancel a job, or have its result forgotten."""
        self._send("DELETE", _job(id), None)

    def faces(
        self,
        photo: Source,
        references: Sources = (),
        people: Names = (),
        options: Options = RestoreOptions(),
    ) -> Account:
        """Which faces there are and who they are; none is restored."""
        return self._model(Account, self._look("POST", "/v1/faces", **_form(photo, references, people, options)))

    def people(self) -> list[EnrolledPerson]:
        return self._model(list[EnrolledPerson], self._send("GET", "/v1/people"))

    def person(self, name: str) -> PersonDetails:
        return self._model(PersonDetails, self._send("GET", _person(name)))

    def face(self, name: str, number: int) -> bytes:
        """The aligned face of one of a person's references, from 1, as a JPEG."""
        return self._send("GET", f"{_person(name)}/faces/{number}", "image/").content

    def enroll(self, name: str, photos: Sources) -> NewPerson:
        return self._model(
            NewPerson, self._look("POST", "/v1/people", data={"name": name}, files=_several("photos", photos))
        )

    def add(self, name: str, photos: Sources) -> AddedPhotos:
        """More photographs of a person."""
        return self._model(AddedPhotos, self._look("POST", f"{_person(name)}/photos", files=_several("photos", photos)))

    def rename(self, name: str, new: str) -> None:
        self._send("PATCH", _person(name), None, json={"name": new})

    def merge(self, name: str, other: str) -> None:
        """The references of `other` become those of `name`."""
        self._send("POST", f"{_person(name)}/merge", None, json={"other": other})

    def remove(self, name: str) -> None:
        self._send("DELETE", _person(name), None)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self,
        method: str,
        path: str,
        kind: str | None = "application/json",
        headers: dict[str, str] | None = None,
        **content: Any,
    ) -> httpx.Response:
        """kind: how the answer's media type begins; None: there is no content in it."""
        answer = self._http.request(method, path, headers=self._headers | (headers or {}), **content)
        _check_is(answer, kind)
        return answer

    def _look(self, method: str, path: str, kind: str | None = "application/json", **content: Any) -> httpx.Response:
        """As `_send`, for what the server does in turn, one request after the other, before it says anything."""
        timeout = self._http.timeout.as_dict()
        if timeout["read"] is not None:
            timeout["read"] = max(timeout["read"], SILENT)
        return self._send(method, path, kind, extensions={"timeout": timeout}, **content)

    @staticmethod
    def _model(kind: type[T], answer: httpx.Response) -> T:
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise ServerError(answer) from error


def _check_is(answer: httpx.Response, kind: str | None) -> None:
    """Raises ServerError for what is no success, as a redirection, and for one of something else than the server."""
    has_kind = answer.headers.get("content-type", "").startswith(kind or "")
    if not answer.is_success or not has_kind or (kind is None and answer.status_code != 204):
        raise ServerError(answer)


def _patiently(ask: Callable[[], T]) -> T:
    """What is asked, as soon as the server answers again. Raises as `ask` if that takes longer than PATIENCE."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with _may_break():
            return ask()
        time.sleep(PAUSE)
    return ask()


@contextmanager
def _may_break() -> Iterator[None]:
    """A broken connection, or a server that is away for a while, ends the block and nothing else."""
    try:
        yield
    except httpx.TransportError:
        pass
    except ServerError as error:
        if error.status not in AWAY:
            raise


def _form(photo: Source, references: Sources, people: Names, options: Options) -> dict[str, Any]:
    """A form with the pictures' bytes; their names stay here."""
    files = [("photo", ("photo", _bytes(photo))), *_several("references", references)]
    names = [people] if isinstance(people, str) else list(people)
    return {"data": {"people": names, "options": options_of(options).model_dump_json()}, "files": files}


def _typed(strength: Strength) -> str:
    if isinstance(strength, dict):
        return ",".join(f"{face}:{part}" for face, part in strength.items())
    return str(strength)


def _several(field: str, sources: Sources) -> list[tuple[str, tuple[str, bytes]]]:
    """Pictures, or a single one, as a field of a form."""
    given = [sources] if isinstance(sources, Source) else sources
    return [(field, ("photo", _bytes(one))) for one in given]


def _bytes(source: Source) -> bytes:
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _person(name: str) -> str:
    return f"/v1/people/{_segment(name)}"


def _job(id: str) -> str:
    return f"/v1/jobs/{_segment(id)}"


def _segment(text: str) -> str:
    """One segment of a path, whatever is in the text; dots alone would lead to another."""
    quoted = quote(text, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")
