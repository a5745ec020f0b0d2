"""What the server says and hears in JSON; the account of a restoration is `faceref.restore.account`'s."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceref.errors import FacerefError, UsageError
from faceref.restore.account import Account, ReferenceLeftOut
from faceref.restore.options import RestoreOptions, first_wrong


class Problem(BaseModel):
    """What went wrong: the parts of the sentence that the command would say."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "photo",
                    "subject": "The picture",
                    "reason": "is empty",
                    "hint": "use another copy",
                }
            ]
        }
    )

    code: str = Field(description="stable, for programs")
    subject: str | None = Field(description="what it is about, if about one thing")
    reason: str = Field(description="what is wrong; continues the subject, or is a sentence of its own")
    hint: str | None = Field(description="what helps, if that is known")

    @classmethod
    def of(cls, error: FacerefError) -> "Problem":
        return cls(code=error.code, subject=error.subject, reason=error.reason, hint=error.hint)


class State(StrEnum):
    """A job waits, runs, and is done or has failed; a cancelled one is no more."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(BaseModel):
    """A restoration that was accepted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "5uYxq0V0m1kq2d7d", "state": "waiting", "ahead": 3}]}
    )

    id: str
    state: State
    ahead: int = Field(default=0, description="how many jobs come before it, while it waits")
    steps_done: int = Field(default=0, description="of the network, while it runs")
    steps: int | None = Field(default=None, description="in all; null until that is known")
    account: Account | None = Field(default=None, description="what was done, once it is")
    problem: Problem | None = Field(default=None, description="why it failed, if it did")

    @property
    def is_over(self) -> bool:
        return self.state in (State.DONE, State.FAILED)


class EnrolledPerson(BaseModel):
    """A person who is kept."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Grandma", "references": 3, "enrolled": "2026-11-26T03:00:00+00:00"}]}
    )

    name: str
    references: int = Field(description="how many photographs")
    enrolled: str = Field(description="since when (ISO 8601, UTC)")


class NewPerson(BaseModel):
    """A person as they were enrolled."""

    name: str
    references: int = Field(description="how many photographs could be used")
    references_left_out: list[ReferenceLeftOut]
    warnings: list[str]


class AddedPhotos(BaseModel):
    """What more photographs of a person came to."""

    new: int = Field(description="how many of them were not there yet")
    references: int = Field(description="how many photographs the person is known by now")
    references_left_out: list[ReferenceLeftOut]
    warnings: list[str]


class PersonDetails(BaseModel):
    """What is known of a person who is kept."""

    name: str
    references: list[str] = Field(description="what the photographs were called, or their numbers, as of their faces")
    warnings: list[str]


class NewName(BaseModel):
    """What a person is to be called."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Grandma Rose"}]})

    name: str


class SamePerson(BaseModel):
    """Somebody who is the same person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"other": "Granny"}]})

    other: str


def read_options(text: str) -> RestoreOptions:
    """The options of a request. Raises UsageError naming the first that is wrong."""
    try:
        return RestoreOptions.model_validate_json(text)
    except ValidationError as error:
        name, reason = first_wrong(error)
        raise UsageError(f"cannot be used: {reason}", subject=name, code="options") from error
