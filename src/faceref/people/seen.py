"""The faces of one photograph as people are known by them: where each is, who it is like, how good it is."""

import hashlib
from dataclasses import dataclass

import numpy as np

from faceref.errors import PhotoError
from faceref.faces.align import align
from faceref.faces.detect import Detector, Face
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.face import Landmarker
from faceref.faces.quality import JUDGED_AT, quality
from faceref.people.person import FACE_SIZE
from faceref.people.traits import Traits, traits_of
from faceref.pictures.levels import in_full_levels
from faceref.pictures.photo import Photo


@dataclass(frozen=True, eq=False)
class SeenFace:
    """place: box and landmarks; score: quality, 0 to 1; whole: not cut by damage.

    embedding: dlib's, float32 [128], as a reference; probe: what its person is looked for by, float32 [128]
    (`TorchDlibRecogniser.embed_probes`); side: of the aligned square, in pixels of the photograph; traits: of the
    aligned face, as a reference.
    """

    place: Face
    embedding: np.ndarray
    probe: np.ndarray
    score: float
    side: float
    whole: bool
    traits: Traits


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen in a photograph. pixels: their digest; ours: it is AI-restored itself, and nobody looked further.

    faces: the largest first.
    """

    pixels: str
    ours: bool = False
    faces: tuple[SeenFace, ...] = ()

    def face_of_one_person(self, *, largest: bool = False) -> SeenFace:
        """The only face, of which a photograph of one person is a reference; of several the largest, if that may be.

        Raises PhotoError if there is none, or it is not whole.
        """
        if len(self.faces) == 0:
            raise PhotoError("no face was found in it")
        if len(self.faces) > 1 and not largest:
            raise PhotoError(f"{len(self.faces)} faces are in it")
        face = self.faces[0]
        if not face.whole:
            raise PhotoError("the file is truncated through the face")
        return face


def look(photo: Photo, detector: Detector, recogniser: TorchDlibRecogniser) -> Seen:
    """Find, recognise and judge the faces of a photograph."""
    digest = pixel_digest(photo)
    if photo.restored:
        return Seen(digest, ours=True)
    image = in_full_levels(photo.image)
    found = detector.detect(image)
    images, landmarks = [image] * len(found), [face.landmarks for face in found]
    embedded = recogniser.embed_with_probes(images, landmarks)
    faces = tuple(_seen(photo, *parts, recogniser.landmarker) for parts in zip(found, *embedded, strict=True))
    return Seen(digest, faces=faces)


def pixel_digest(photo: Photo) -> str:
    """The same for the same pixels, whatever file or memory they lie in."""
    image = photo.image
    return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()


def _seen(photo: Photo, face: Face, embedding: np.ndarray, probe: np.ndarray, landmarker: Landmarker) -> SeenFace:
    crop = align(photo.image, face.landmarks, FACE_SIZE)
    try:
        score = quality(crop, JUDGED_AT).score
    except PhotoError:  # hardly any of it lies within the photograph
        score = 0.0
    whole, traits = photo.is_readable(face.box), traits_of(crop.image, landmarker)
    return SeenFace(face, embedding, probe, score, crop.alignment.side, whole, traits)
