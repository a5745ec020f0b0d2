"""What becomes of a job, from values to values: the same in a thread of the server and in another process."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from faceref.app.server.errors import status_of
from faceref.app.server.pictures import Picture, encoded
from faceref.app.server.schema import Problem
from faceref.errors import FacerefError
from faceref.people.person import Person
from faceref.restore.account import Account
from faceref.restore.layers import Layers
from faceref.restore.model import OnStep
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

T = TypeVar("T")
INTERNAL = FacerefError("The server failed at this request", hint="its log says where", code="internal")


@dataclass(frozen=True)
class Task:
    """All that a job needs, wherever it is done; people: who are enrolled, or references as they came."""

    photo: bytes
    people: tuple[Person, ...] | tuple[bytes, ...]
    options: RestoreOptions


@dataclass(frozen=True)
class Done:
    """What was made of a job; layers: to show it at another strength."""

    picture: Picture
    layers: Layers
    account: Account


@dataclass(frozen=True)
class Failed:
    """Why a job failed, and the HTTP status that goes with it; trace: where, for the log, if nobody expected it."""

    problem: Problem
    status: int
    trace: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Self:
        if isinstance(error, FacerefError):
            return cls(Problem.of(error), status_of(error))
        where = "".join(traceback.format_tb(error.__traceback__))  # not what it says, which may name somebody
        return cls(Problem.of(INTERNAL), status_of(INTERNAL), f"{type(error).__name__}\n{where}")


class NotOverError(Exception):
    """An attempt has ended, and the job has not."""


class StoppedError(NotOverError):
    """The job is not wanted any more, or the server ends."""


class LostError(NotOverError):
    """What was to restore is gone, or cannot be reached."""


def outcome_of(make: Callable[[], T]) -> T | Failed:
    """What `make` returns, or how it failed. Raises NotOverError."""
    try:
        return make()
    except NotOverError:
        raise
    except Exception as error:  # one request must not end the others
        return Failed.of(error)


def restored(restorer: Restorer, task: Task, on_step: OnStep, check: Callable[[], None]) -> Done:
    """Do a task. Raises as `Restorer.restore`, and what `on_step` and `check` raise, which is called in between."""
    result = restorer.restore(task.photo, task.people, task.options, on_step=on_step, on_photo=lambda *_: check())
    check()  # pictures are compressed from here on, which takes seconds
    account, layers = result.account(), Layers.of(result, task.options.colour)
    if not result.is_new:  # nothing was to be restored
        return Done(Picture.as_it_came(task.photo), layers, account)
    check()
    picture, left_out = encoded(result)
    account.warnings += left_out
    return Done(picture, layers, account)
