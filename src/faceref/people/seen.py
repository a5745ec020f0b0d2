"""The faces of one photograph as people are known by them: where each is, who it is like, how good it is."""

import hashlib
from dataclasses import dataclass

import numpy as np

from faceref.errors import PhotoError
from faceref.faces.align import align
from faceref.faces.detect import Detector, Face
from faceref.faces.quality import JUDGED_AT, quality
from faceref.faces.recognise import DlibRecogniser
from faceref.people.person import FACE_SIZE
from faceref.pictures.photo import Photo


@dataclass(frozen=True, eq=False)
class SeenFace:
    """place: box and landmarks; embedding: dlib's, float32 [128]; score: quality, 0 to 1; whole: not cut by damage.

    side: of the aligned square, in pixels of the photograph.
    """

    place: Face
    embedding: np.ndarray
    score: float
    side: float
    whole: bool


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen in a photograph. pixels: their digest; ours: it is AI-restored itself, and nobody looked further.

    faces: the largest first.
    """

    pixels: str
    ours: bool = False
    faces: tuple[SeenFace, ...] = ()


def look(photo: Photo, detector: Detector, recogniser: DlibRecogniser) -> Seen:
    """Find, recognise and judge the faces of a photograph."""
    digest = pixel_digest(photo)
    if photo.restored:
        return Seen(digest, ours=True)
    found = detector.detect(photo.image)
    embeddings = recogniser.embed_batch([photo.image] * len(found), [face.landmarks for face in found])
    faces = tuple(_seen(photo, face, embedding) for face, embedding in zip(found, embeddings, strict=True))
    return Seen(digest, faces=faces)


def pixel_digest(photo: Photo) -> str:
    """The same for the same pixels, whatever file or memory they lie in."""
    image = photo.image
    return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()


def _seen(photo: Photo, face: Face, embedding: np.ndarray) -> SeenFace:
    crop = align(photo.image, face.landmarks, FACE_SIZE)
    try:
        score = quality(crop, JUDGED_AT).score
    except PhotoError:  # hardly any of it lies within the photograph
        score = 0.0
    return SeenFace(face, embedding, score, crop.alignment.side, photo.is_readable(face.box))
