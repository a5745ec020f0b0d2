"""What a restoration leaves behind: the picture, what became of each face, and the account of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceref.faces.align import align
from faceref.faces.centre import Centre
from faceref.people.matching import is_sure, nearly_as_sure
from faceref.people.person import FACE_SIZE, Identity, SkippedReference
from faceref.pictures.colour import as_srgb
from faceref.pictures.output import encode_picture, save_picture
from faceref.pictures.photo import Photo
from faceref.pictures.sheets import below, comparison
from faceref.restore.account import Account, FaceAccount, MatchAccount, ReferenceLeftOut, called, what_became
from faceref.restore.background import at_scale
from faceref.restore.faces import Assignment, RestoredFace
from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import LANCZOS, FaceChoice

# A face may be this many times larger in the photograph than the model's pictures before that is worth a warning.
MUCH_LARGER = 1.5


@dataclass(frozen=True, eq=False)
class Result:
    """What `Restorer.restore` made: `image` is the photograph with its faces restored, RGB, or RGBA if it had alpha.

    photo: the photograph as it was opened; assignments: what became of each face that was found; faces: the restored
    ones; embeddings: dlib's of these, float32 [N, 128]; people: those who were looked for, whose references may not
    be read yet; timings: seconds by phase; background: what drew the rest of the picture, `enlargement` times larger
    than the photograph, None if it is the photograph's; under: the cleaned photograph, without restored faces, where it
    kept its size; choice: which face was chosen (`RestoreOptions.face`).
    """

    image: Image.Image
    photo: Photo
    assignments: tuple[Assignment, ...]
    faces: tuple[RestoredFace, ...]
    embeddings: np.ndarray
    people: tuple[Identity[Any], ...]
    timings: dict[str, float]
    under: Photo | None = None
    background: str | None = None
    enlargement: int = 1
    choice: FaceChoice | None = None

    @property
    def is_new(self) -> bool:
        """Whether the picture is another one than the photograph."""
        return bool(self.faces) or self.background is not None

    @property
    def is_generated(self) -> bool:
        """Whether a trained model made any of it."""
        return bool(self.faces) or self.background not in (None, LANCZOS)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for everything that the user may want to look at."""
        said = list(self.photo.warnings)
        if self.background or not all(one.left_alone for one in self.assignments):  # else nothing is made, and lost
            said += self.photo.losses
        said += [warning for person in self.people if person.expected for warning in person.warnings]
        shown = [reference for one in self.faces if one.person for reference in one.person.references]
        said += [warning for reference in shown for warning in reference.warnings]
        if self.photo.restored:
            said.append(f"{self.photo.name} is AI-restored already: what is made of it is a guess from a guess.")
        if self.faces and not self.people:
            said.append("No references were given: the face is a guess from the photograph alone.")
        if not self.assignments:
            said.append(f"No face was found in {self.photo.name}: nothing was restored. {self._of_the_whole}")
        for one in self.faces:
            said += _doubts(one, self.photo.name, self.enlargement)
            said += _rivals(one, self.assignments) if self.choice is None else ()
        return tuple(dict.fromkeys(said))

    @property
    def left_out(self) -> tuple[SkippedReference, ...]:
        """The photographs that were given as references and cannot be used, each once."""
        people = [*self.people, *(one.person for one in self.faces if one.person)]
        return tuple(dict.fromkeys(skipped for person in people for skipped in person.skipped))

    def account(self) -> Account:
        """All that is known of how the picture was made, for programs."""
        restored = {one.face.number: (one, row) for one, row in zip(self.faces, self.embeddings, strict=True)}
        return Account(
            photo=self.photo.name,
            face=self.choice,
            faces=[_face_account(one, *restored.get(one.face.number, (None, None))) for one in self.assignments],
            references_left_out=[ReferenceLeftOut(name=one.name, reason=one.reason) for one in self.left_out],
            warnings=list(self.warnings),
            seconds={phase: round(seconds, 3) for phase, seconds in self.timings.items()},
            version=version("faceref"),
            background=self.background and Path(self.background).name,
            enlargement=self.enlargement,
        )

    @property
    def metadata(self) -> dict[str, str]:
        """What files made from this result say of its origin."""
        return self.origin(with_faces=bool(self.faces)) | of_faces([one.metadata for one in self.faces])

    def origin(self, *, with_faces: bool) -> dict[str, str]:
        """The same, but for what is said of each face; without restored faces if none of them is shown."""
        said = ["AI-restored: the faces in this picture were made by a trained model."] if with_faces else []
        if self.background is not None:
            said.append(self._of_the_whole)
        return {"Software": f"faceref {version('faceref')}", "Description": " ".join(said)}

    @property
    def _of_the_whole(self) -> str:
        return what_became(Path(self.background or "").name, self.enlargement)

    def save(self, path: str | Path) -> tuple[str, ...]:
        """Write the picture, with the photograph's EXIF, XMP and colour profile and, if it is new, this metadata.

        PNG, JPEG, WebP, TIFF or AVIF by the suffix; an older file of that name is replaced. Returns a sentence for
        each thing that the format cannot hold and was left out. Raises OutputError.
        """
        return save_picture(self.image, path, **self._told())

    def encode(self, format: str, name: str = "The result") -> tuple[bytes, tuple[str, ...]]:
        """The picture as the bytes of a file in "PNG", "JPEG", "WEBP", "TIFF" or "AVIF"; else as `save`.

        name: what sentences call it.
        """
        return encode_picture(self.image, format, name=name, **self._told())

    def _told(self) -> dict[str, Any]:
        """What its file says beside the picture."""
        metadata = self.metadata if self.is_new else None
        return {"file": self.photo.file, "metadata": metadata, "generated": self.is_generated}

    def comparison(self) -> Image.Image:
        """Each restored face before and after, as it is in the photograph and in the picture, beside its references.

        RGB, a row for each face. Raises ValueError if no face was restored.
        """
        several = len(self.assignments) > 1
        return below(
            [comparison(*self._both(one), _shown(one), of=_called(one) if several else "") for one in self.faces]
        )

    def _both(self, one: RestoredFace) -> tuple[Image.Image, Image.Image]:
        """The aligned face before and after, in sRGB."""
        after = self.image.convert("RGB")
        if one.face.place is not None:
            after = align(after, at_scale(one.face.place.landmarks, self.enlargement), FACE_SIZE).image
        profile = self.photo.file.icc_profile
        return as_srgb(one.face.crop.image, profile), as_srgb(after, profile)

    def save_comparison(self, path: str | Path) -> None:
        """Write the comparison as `save` writes the picture."""
        save_picture(self.comparison(), path, metadata=self.metadata)


def of_faces(told: Sequence[dict[str, str]]) -> dict[str, str]:
    """What is said of each face as one; where they differ, a value for each."""
    keys = dict.fromkeys(key for one in told for key in one)
    values = {key: [one.get(key, "none") for one in told] for key in keys}
    return {key: found[0] if len(set(found)) == 1 else ", ".join(found) for key, found in values.items()}


def _called(one: RestoredFace) -> str:
    """A face by its number, and who its person is where there is a choice: by name, or somebody of an album."""
    person = one.assignment.person
    if person is None or (person.name is None and person.expected):
        return f"face {one.face.number}"
    return f"face {one.face.number}, {called(person.name, [reference.name for reference in person.references])}"


def _shown(one: RestoredFace) -> list[Image.Image]:
    """The references that a face was restored with."""
    return [reference.face for reference in one.person.references] if one.person else []


def _doubts(one: RestoredFace, photo: str, enlargement: int) -> list[str]:
    said = []
    matches = one.assignment.matches
    match = next((match for match in matches if match.person is one.assignment.person), None)
    if match is not None and not (match is matches[0] and is_sure(matches)):
        said.append(
            f"Face {one.face.number} of {photo} may be somebody else than the references "
            f"({100 * match.certainty:.0f} % sure that it is the person, distance {match.distance:.2f})."
        )
    side, resolution = enlargement * one.face.crop.alignment.side, one.image.width
    if side > MUCH_LARGER * resolution:
        finer = "finer detail stays as it is in the photograph" if one.face.place else "the result is so small"
        said.append(
            f"Face {one.face.number} of {photo} fills {side:.0f} pixels, and {one.settings.model} draws {resolution}: "
            f"{finer}."
        )
    return said


def _rivals(one: RestoredFace, assignments: Sequence[Assignment]) -> list[str]:
    """Which faces that were not chosen may be the person as well as the one that was, being the most like them."""
    number, photo = one.face.number, one.face.photo.name
    return [
        f"Face {other.face.number} of {photo} may be the person as well as face {number} "
        f"({100 * match.certainty:.0f} % sure, face {number} {100 * best.certainty:.0f} %): if it is, choose it."
        for best in one.assignment.matches[:1]
        for other in assignments
        for match in other.matches[:1]
        if other.left_alone is LeftAlone.NOT_CHOSEN and nearly_as_sure(match.certainty, best.certainty)
    ]


def _face_account(one: Assignment, restored: RestoredFace | None, embedding: np.ndarray | None) -> FaceAccount:
    person, to_references, to_photograph = restored and restored.person, None, None
    if embedding is not None:
        centre = Centre.shipped()
        to_photograph = float(centre.cosine(embedding, one.face.embedding))
        to_references = float(centre.cosine(embedding, person.embeddings).mean()) if person else None
    left, top, right, bottom = one.face.place.box if one.face.place else (0.0,) * 4
    return FaceAccount(
        number=one.face.number,
        box=one.face.place and (round(left, 1), round(top, 1), round(right, 1), round(bottom, 1)),
        restored=restored is not None,
        left_alone=one.left_alone and one.left_alone.reason,
        left_alone_code=one.left_alone,
        quality=round(one.face.quality.score, 3),
        strength=0.0 if one.left_alone else one.strength,
        person=one.person.name if one.person else None,
        references=[reference.name for reference in person.references] if person else [],
        matches=[
            MatchAccount(
                person=match.person.name,
                distance=match.distance,
                certainty=match.certainty,
                files=[reference.name for reference in match.person.references],
            )
            for match in one.matches[:2]
        ],
        matched=one.person is not None,
        similarity_to_references=to_references,
        similarity_to_photograph=to_photograph,
        settings=restored.settings.by_name() if restored else {},
    )
