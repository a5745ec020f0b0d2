"""What is known of a person: aligned faces, who dlib's recogniser says they are, and the photographs they come from."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from PIL import Image
from scipy.spatial.distance import cdist

from faceref.errors import FacerefError
from faceref.faces.face import Landmarker
from faceref.faces.recognise import SAME_PERSON_DISTANCE, SAME_PHOTOGRAPH_DISTANCE, distance
from faceref.people.measure import most_typical
from faceref.people.traits import Traits, traits_of

NAMELESS = re.compile(r"picture \d+")  # what a picture is called that is no file: by its number among those given
FACE_SIZE = 512  # pixels of an aligned face that is kept: any model can be shown it


class Source(Protocol):
    """A photograph that may become a reference; embedding: dlib's, float32 [128]; digest: of its pixels."""

    @property
    def name(self) -> str: ...
    @property
    def embedding(self) -> np.ndarray: ...
    @property
    def digest(self) -> str: ...

    def traits(self, landmarker: Landmarker) -> Traits:
        """How well it serves."""
        ...

    def reference(self) -> "Reference":
        """Read it, if it is not read yet. Raises PhotoError."""
        ...


@dataclass(frozen=True, eq=False)
class Reference:
    """One good photograph of somebody.

    name: where it came from; face: aligned, RGB, FACE_SIZE px; embedding: dlib's, float32 [128]; digest: of the
    photograph's pixels (`faceref.people.seen.pixel_digest`); warnings: what of the file could not be read.
    """

    name: str
    face: Image.Image
    embedding: np.ndarray
    digest: str
    warnings: tuple[str, ...] = ()
    # Computed when they are first asked for, by the kind of landmarker, as an album's index has them
    _traits: dict[type[Landmarker], Traits] = field(default_factory=dict, init=False, repr=False)

    def traits(self, landmarker: Landmarker) -> Traits:
        kind = type(landmarker)
        if kind not in self._traits:
            self._traits[kind] = traits_of(self.face, landmarker)
        return self._traits[kind]

    def reference(self) -> "Reference":
        return self


@dataclass(frozen=True)
class SkippedReference:
    """A photograph that could not be used; `reason` continues the sentence "NAME was left out: "."""

    name: str
    reason: str

    @classmethod
    def because(cls, name: str, error: FacerefError) -> "SkippedReference":
        """By what an error says of its subject, whose name stands before it anyway."""
        reason = f"it {error.reason}" if error.subject is not None else error.reason
        return cls(name, f"{reason}; {error.hint}" if error.hint else reason)


def same_name(name: str | None, other: str) -> bool:
    """Whether two names are one person's: letters may be large or small, accents a part of them or not."""
    return name is not None and compared(name) == compared(other)


def distinct(names: Iterable[str]) -> list[str]:
    """Each person once, as first spelled: somebody who is named twice would be taken for two who look alike."""
    return list({compared(name): name for name in reversed(list(names))}.values())[::-1]


def compared(name: str) -> str:
    """What one person's names have in common. macOS writes an accent as a character of its own."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


S = TypeVar("S", bound=Source)


@dataclass(frozen=True, eq=False)
class Identity(Generic[S]):
    """Somebody, as far as photographs tell: N >= 1 references, read or not.

    skipped: photographs that were given and cannot be used; name: what the user calls the person, if anything;
    expected: whether a photograph is said to show them, as it is by giving it their references; of those who are in an
    album nobody says it.
    """

    references: tuple[S, ...]
    skipped: tuple[SkippedReference, ...] = ()
    name: str | None = None
    expected: bool = False
    embeddings: np.ndarray = field(init=False)  # float32 [N, 128]

    def __post_init__(self) -> None:
        object.__setattr__(self, "embeddings", np.stack([one.embedding for one in self.references]))

    def distance(self, probe: np.ndarray) -> float:
        """How far a face is from this person: the distance of its probe to the mean of the references' embeddings."""
        return float(distance(probe, self.embeddings.mean(axis=0)))

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence about the references that seem to show somebody else than the most typical one."""
        typical, distances = most_typical(self.embeddings)
        far = distances > SAME_PERSON_DISTANCE
        if not far.any():
            return ()
        *others, last = [one.name for one, is_far in zip(self.references, far, strict=True) if is_far]
        who = f"{', '.join(others)} and {last} seem" if others else f"{last} seems"
        nearest, farthest = (f"{one:.2f}" for one in (distances[far].min(), distances[far].max()))
        away = nearest if nearest == farthest else f"{nearest} to {farthest}"
        return (
            f"{who} to show somebody else than {self.references[typical].name} "
            f"(distance {away}, the same person is below {SAME_PERSON_DISTANCE}).",
        )

    def without_photograph(self, digest: str, faces: np.ndarray) -> Self | None:
        """The same person without the references that are the photograph itself; None if no other is left.

        digest: of its pixels; faces [N, 128]: embeddings of those in it, by which it is known in other sizes and
        formats.
        """
        near = cdist(self.embeddings, faces).min(axis=1, initial=np.inf) < SAME_PHOTOGRAPH_DISTANCE
        itself = [one.digest == digest or close for one, close in zip(self.references, near.tolist(), strict=True)]
        return self._without(["it is the photograph to be restored" if found else None for found in itself])

    def without_outliers(self) -> Self:
        """The same person without references that seem to show somebody else than the most typical one.

        All stay where that one stands alone, or for half of them: nobody knows then who is meant.
        """
        typical, distances = most_typical(self.embeddings)
        near = int((distances <= SAME_PERSON_DISTANCE).sum())
        if near in (1, len(distances) / 2, len(distances)):
            return self
        name = self.references[typical].name
        reasons = [
            f"it seems to show somebody else than {name} (distance {away:.2f}, "
            f"the same person is below {SAME_PERSON_DISTANCE})"
            if away > SAME_PERSON_DISTANCE
            else None
            for away in distances.tolist()
        ]
        return self._without(reasons) or self

    def _without(self, reasons: Sequence[str | None]) -> Self | None:
        """Without the references that there is a reason against; names may be the same, so that places count."""
        judged = list(zip(self.references, reasons, strict=True))
        kept = tuple(one for one, reason in judged if reason is None)
        if len(kept) == len(self.references):
            return self
        gone = tuple(SkippedReference(one.name, reason) for one, reason in judged if reason is not None)
        return replace(self, references=kept, skipped=self.skipped + gone) if kept else None


@dataclass(frozen=True, eq=False)
class Person(Identity[Reference]):
    """Somebody whose references are read. What a model computes of them is derived and belongs to the model."""

    expected: bool = True

    @property
    def warnings(self) -> tuple[str, ...]:
        """As of any identity, after a sentence for each reference that is not whole."""
        damaged = tuple(warning for reference in self.references for warning in reference.warnings)
        return damaged + super().warnings
