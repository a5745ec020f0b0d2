"""What is known of a photograph's faces after each step: found, assigned, restored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from faceref.faces.align import AlignedFace, align
from faceref.faces.face import Face
from faceref.faces.quality import FaceQuality
from faceref.people.matching import Match
from faceref.people.person import FACE_SIZE, Identity, Person
from faceref.pictures.levels import FULL, Levels
from faceref.pictures.photo import Photo
from faceref.restore.left_alone import LeftAlone
from faceref.restore.model import Settings


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photograph.

    photo: where it is; number: its place from the left, beginning with 1; place: box and landmarks, None if the whole
    picture is the face; crop: the aligned face, FACE_SIZE px (an aligned picture: its own size); embedding: dlib's,
    float32 [128]; probe: what its person is looked for by, float32 [128] (`TorchDlibRecogniser.embed_probes`); quality:
    how good it is, judged at its `size_in_photo`; coarse: the same at JUDGED_AT, which is what recognisers see of it;
    levels: of the square; head: whether hair, ears and neck are restored with it, which they are where no other face
    lies in its square.
    """

    photo: Photo
    number: int
    place: Face | None
    crop: AlignedFace
    embedding: np.ndarray
    probe: np.ndarray
    quality: FaceQuality
    coarse: FaceQuality
    levels: Levels = FULL
    head: bool = True

    @property
    def seen(self) -> Image.Image:
        """The aligned face with full levels, as networks are shown it."""
        return self.levels.stretched(self.crop.image)

    def crop_in(self, photo: Photo) -> AlignedFace:
        """Its square in another picture of the same size, as its photograph is when cleaned."""
        return crop_of(photo, self.place and self.place.landmarks)


@dataclass(frozen=True, eq=False)
class Assignment:
    """What becomes of a face: restored with a person's references, without any (person None), or left alone.

    matches: with everybody who was looked for, the surest first; left_alone: why, None if it is restored; strength:
    how much of the restoration is shown, in [0, 1]; shown: the person by the references chosen for this face.
    """

    face: FoundFace
    person: Identity[Any] | None = None
    matches: tuple[Match, ...] = ()
    left_alone: LeftAlone | None = None
    strength: float = 1.0
    shown: Person | None = None


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """A face that was restored, with whose references and how.

    image: the aligned face at the model's resolution, restored fully, in the photograph's colours.
    """

    assignment: Assignment
    image: Image.Image
    settings: Settings

    @property
    def face(self) -> FoundFace:
        return self.assignment.face

    @property
    def person(self) -> Person | None:
        return self.assignment.shown

    @property
    def metadata(self) -> dict[str, str]:
        """What a file with this face says of its origin."""
        return (
            {"references": str(len(self.person.references) if self.person else 0)}
            | {key: str(value) for key, value in self.settings.by_name().items()}
            | {"strength": f"{self.assignment.strength:.2f}"}
        )


def crop_of(photo: Photo, landmarks: np.ndarray | None) -> AlignedFace:
    """The aligned face, FACE_SIZE px, at `landmarks` [68, 2]; the whole picture at its own size if that is the face."""
    if landmarks is not None:
        return align(photo.image, landmarks, FACE_SIZE)
    # alpha: padding, where FFHQ's square left the photograph
    return AlignedFace.whole(photo.image, None if photo.alpha is None else np.asarray(photo.alpha))
