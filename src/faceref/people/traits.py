"""What an aligned face tells of how well it serves as a reference: quality, pose, light, open eyes."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceref.faces.align import AlignedFace
from faceref.faces.face import Landmarker
from faceref.faces.landmarks import eye_openness, landmarks_of_aligned, pitch, yaw
from faceref.faces.noise import to_ycc
from faceref.faces.quality import JUDGED_AT, face_pixels, quality

MIDDLE_GREY, SPREAD = 127.5, 51.0  # Mertens et al. 2007: 0.5 and 0.2 of the range


@dataclass(frozen=True)
class Traits:
    """How well a face serves as a reference.

    score: its quality, sharpness and size in it, 0 to 1; yaw, pitch: where it looks (`faceref.faces.landmarks`);
    exposure: 0 black or burnt out, 1 all of it in the middle of the range; eyes: how far open (`eye_openness`).
    """

    score: float
    yaw: float
    pitch: float
    exposure: float
    eyes: float


def traits_of(face: Image.Image, landmarker: Landmarker) -> Traits:
    """Of an aligned RGB face: from its pixels alone, so that somebody enrolled has the same as their photographs."""
    whole = AlignedFace.whole(face)
    landmarks = landmarks_of_aligned(face, landmarker)
    return Traits(
        score=quality(whole, JUDGED_AT).score,
        yaw=yaw(landmarks),
        pitch=pitch(landmarks),
        exposure=exposure(whole),
        eyes=eye_openness(landmarks),
    )


def exposure(face: AlignedFace) -> float:
    """How well a face is exposed: the mean of the weight that exposure fusion gives its pixels (Mertens et al. 2007).

    The skin's own tone counts, too: only photographs of one person can be compared.
    """
    pixels, where = face_pixels(face)
    luminance = to_ycc(pixels[where])[:, 0]
    return float(np.exp(-((luminance - MIDDLE_GREY) ** 2) / (2 * SPREAD**2)).mean())
