"""Which faces of a photograph could be restored, and which of them are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.faces.align import AlignedFace, Alignment, align
from faceref.faces.detect import Detector, Face
from faceref.faces.recognise import DlibRecogniser, distance
from faceref.people.references import EncodedReferences
from faceref.pictures.photo import Photo, check_aligned_face

FaceChoice = int | Literal["largest", "all"]  # a number counts from the left, beginning with 1


@dataclass(frozen=True, eq=False)
class Candidate:
    """A face that could be restored; `face` is None if the whole picture is one."""

    number: int
    face: Face | None
    crop: AlignedFace
    embedding: np.ndarray


def whole_picture(photo: Photo, recogniser: DlibRecogniser, resolution: int) -> Candidate:
    """The picture itself as an aligned face of `resolution` pixels. Raises UsageError or PhotoError if it is none."""
    width, height = photo.image.size
    check_aligned_face(photo, photo_name(photo))
    image = photo.image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    corners = np.array([(0, 0), (0, height), (width, height), (width, 0)]) - 0.5
    alpha = photo.alpha or Image.new("L", (1, 1), 255)  # padding, where FFHQ's square left the photograph
    mask = np.asarray(alpha.resize((resolution, resolution), Image.Resampling.BILINEAR))
    crop = AlignedFace(image, mask, Alignment(corners, resolution))
    return Candidate(1, None, crop, recogniser.embed_aligned([photo.image])[0])


def find_faces(photo: Photo, detector: Detector, recogniser: DlibRecogniser, resolution: int) -> list[Candidate]:
    """The whole faces in the photograph, from left to right. Raises NoFaceError or PhotoError if there are none."""
    found = sorted(detector.detect(photo.image), key=lambda face: face.box[0] + face.box[2])
    if not found:
        raise NoFaceError(
            f"No face was found in {photo_name(photo)}; cut the photograph closer to the face, "
            "or give the aligned face itself (--aligned)."
        )
    whole = [face for face in found if photo.is_readable(face.box)]
    if not whole:
        raise PhotoError(f"{photo_name(photo)} is truncated through the face; use another copy of it.")
    landmarks = [face.landmarks for face in whole]
    embeddings = recogniser.embed_batch([photo.image] * len(whole), landmarks)
    crops = [align(photo.image, points, resolution) for points in landmarks]
    return [Candidate(*parts) for parts in zip(range(1, len(whole) + 1), whole, crops, embeddings, strict=True)]


def choose_faces(
    candidates: Sequence[Candidate], person: EncodedReferences | None, choice: FaceChoice | None, photo: Photo
) -> list[Candidate]:
    """The faces to restore: the chosen ones; else the one closest to the references; else all."""
    if choice is None and person is not None:
        return [min(candidates, key=lambda one: distance(one.embedding, person.embeddings).mean())]
    if choice is None or choice == "all":
        return list(candidates)
    if choice == "largest":
        return [max(candidates, key=lambda one: one.crop.alignment.side)]
    if choice in range(1, len(candidates) + 1):
        return [candidates[choice - 1]]
    numbers = "1" if len(candidates) == 1 else f"1 to {len(candidates)} (from the left)"
    raise UsageError(f"{photo_name(photo)} has no face {choice!r}; choose {numbers}, largest or all.")


def photo_name(photo: Photo) -> str:
    return str(photo.path or "the picture")
