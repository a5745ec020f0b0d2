"""Errors over HTTP: which status each has. What they say is `schema.Problem`, as everywhere."""

from collections.abc import Mapping

from faceref.errors import FacerefError, NoFaceError, NoReferenceError, OtherPersonError, PhotoError, UsageError


class RefusedError(FacerefError):
    """The server does not take a request: no token, no such job, a full queue."""

    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        *,
        subject: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, subject=subject, hint=hint, code=code)
        self.status = status
        self.headers = headers


class FailedJobError(RefusedError):
    """What a job failed of, said to who asks for its result."""


def took_too_long(seconds: float, hint: str) -> FacerefError:
    """The error of what was ended after so many seconds."""
    return FacerefError(f"It took longer than {seconds:g} seconds", hint=hint, code="time")


_BY_CODE = {"unknown_person": 404, "no_job": 404, "person_exists": 409, "time": 422, "disk_full": 507, "internal": 500}
_BY_CLASS = {UsageError: 400, PhotoError: 422, NoFaceError: 422, NoReferenceError: 422, OtherPersonError: 422}


def status_of(error: FacerefError) -> int:
    """400 for a wrong request, 422 for what cannot be used or takes too long, 5XX for what the server's owner mends."""
    if isinstance(error, RefusedError):
        return error.status
    return _BY_CODE.get(error.code) or next(
        (status for known, status in _BY_CLASS.items() if isinstance(error, known)), 500
    )
