"""What is known of a person: aligned faces, who dlib's recogniser says they are, and the photographs they come from."""

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from faceref.faces.recognise import SAME_PERSON_DISTANCE, distance

FACE_SIZE = 512  # pixels of an aligned face that is kept: any model can be shown it


@dataclass(frozen=True, eq=False)
class Reference:
    """One good photograph of somebody.

    name: where it came from; face: aligned, RGB, FACE_SIZE px; embedding: dlib's, float32 [128]; digest: of the
    photograph's pixels (`faceref.people.references.pixel_digest`); warnings: what of the file could not be read.
    """

    name: str
    face: Image.Image
    embedding: np.ndarray
    digest: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedReference:
    """A photograph that could not be used; `reason` continues the sentence "NAME was left out: "."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody's references, N >= 1. What a model computes of them is derived and belongs to the model.

    skipped: photographs that were given and cannot be used; name: what the user calls the person, if anything.
    """

    references: tuple[Reference, ...]
    skipped: tuple[SkippedReference, ...] = ()
    name: str | None = None
    embeddings: np.ndarray = field(init=False)  # float32 [N, 128]

    def __post_init__(self) -> None:
        object.__setattr__(self, "embeddings", np.stack([one.embedding for one in self.references]))

    def distance(self, embedding: np.ndarray) -> float:
        """How far a face is from this person: dlib's distance to the mean of the references' embeddings."""
        return float(distance(embedding, self.embeddings.mean(axis=0)))

    def without_photograph(self, digest: str) -> "Person | None":
        """The same person without the references that are the photograph itself; None if no other is left."""
        kept = tuple(one for one in self.references if one.digest != digest)
        if len(kept) == len(self.references):
            return self
        reason = "it is the photograph to be restored"
        gone = tuple(SkippedReference(one.name, reason) for one in self.references if one.digest == digest)
        return replace(self, references=kept, skipped=self.skipped + gone) if kept else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each reference that is not whole, or seems to show somebody else than the most typical one."""
        damaged = tuple(warning for reference in self.references for warning in reference.warnings)
        distances = distance(self.embeddings[:, None], self.embeddings[None])  # [N, N]
        typical = int(np.median(distances, axis=1).argmin())
        return damaged + tuple(
            f"{reference.name} seems to show somebody else than {self.references[typical].name} "
            f"(distance {far:.2f}, the same person is below {SAME_PERSON_DISTANCE})."
            for reference, far in zip(self.references, distances[typical], strict=True)
            if far > SAME_PERSON_DISTANCE
        )
