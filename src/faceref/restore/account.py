"""What is said of a restoration, for programs: the JSON of the command and of the API. Its schema is published.

`Account.model_json_schema()` is the schema; fields are added in later versions, none is taken away or renamed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import CLEAN, FaceChoice


class ReferenceLeftOut(BaseModel):
    """A photograph that was given as a reference and could not be used."""

    name: str
    reason: str = Field(description='continues the sentence "NAME was left out: "')


class MatchAccount(BaseModel):
    """How surely a face is a person."""

    person: str | None = Field(description="the name, where there is one")
    distance: float = Field(description="distance of the face's embedding to the mean of the references'")
    certainty: float = Field(description="0 to 1, by distance and quality of the face and by who else it may be")
    files: list[str] = Field(description="names of the photographs that the person is known by")


class FaceAccount(BaseModel):
    """What became of one face of the photograph."""

    number: int = Field(description="its place from the left, beginning with 1")
    box: tuple[float, float, float, float] | None = Field(
        description="left, top, right, bottom in pixels of the photograph; null for an aligned picture"
    )
    restored: bool
    left_alone: str | None = Field(description="why the face was not restored; null if it was")
    left_alone_code: LeftAlone | None = Field(default=None, description="the same, for programs")
    quality: float = Field(description="how good the face was, estimated: 0 hardly a face, 1 a good photograph")
    strength: float = Field(description="how much of the restoration is shown (a match: would be), 0 to 1")
    person: str | None = Field(description="the name of the person whose references were used, where there is one")
    references: list[str] = Field(description="names of the references that were used; empty: restored without any")
    matches: list[MatchAccount] = Field(description="the best and the second best of the people looked for")
    matched: bool = Field(description="whether the face is surely the best of these, or was said to be")
    similarity_to_references: float | None = Field(
        description="cosine of dlib's embeddings of the restored face and the references, in the mean; centred, so "
        "that it is about 0 for strangers and 1 for one picture (docs/evaluation.md)"
    )
    similarity_to_photograph: float | None = Field(description="the same of the restored face and the face as it was")
    settings: dict[str, Any] = Field(description="model, steps, guidance, scheduler, crisp, seed; empty if left")


class Account(BaseModel):
    """What was done with a photograph."""

    model_config = ConfigDict(extra="forbid")

    photo: str = Field(description="where the photograph came from")
    restored: str | None = Field(default=None, description="the file of the result, where it was written")
    comparison: str | None = Field(default=None, description="the file of the comparison, where it was written")
    face: FaceChoice | None = Field(
        default=None,
        description="the face that was chosen: a number, largest, all, or a box (left, top, right, bottom); null: "
        "nobody chose, so that it was the one most like the references, or all",
    )
    faces: list[FaceAccount] = Field(description="all faces that were found, from left to right")
    background: str | None = Field(
        default=None,
        description="what drew the rest of the picture: clean, lanczos, realesrgan or a model file's name; null: "
        "nothing, it is the photograph's",
    )
    enlargement: int = Field(default=1, description="how many times larger than the photograph the result is")
    references_left_out: list[ReferenceLeftOut]
    warnings: list[str]
    seconds: dict[str, float] = Field(
        description="by phase: open, find, references, assign, choose, restore, clean or enlarge, compose, compare"
    )
    version: str = Field(description="of faceref")


def what_became(background: str, enlargement: int) -> str:
    """What was done with the whole picture by the background of that name, as a sentence."""
    larger = [f"made {enlargement} times larger"] if enlargement > 1 else []
    became = ["cleaned", *larger] if background == CLEAN else larger
    return f"The whole picture was {' and '.join(became)} ({background})."


def called(name: str | None, files: Sequence[str]) -> str:
    """A person as tables and sheets call them; who has no name is whoever is on their first photograph."""
    return name or f"as on {Path(files[0]).name}"
