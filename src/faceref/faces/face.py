"""What is known of a face in a photograph, and what every detector offers.

Coordinates are pixels of the photograph: the centre of the top left pixel is (0, 0) for landmarks, as in dlib and FFHQ.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from faceref.faces.boxes import Box


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a photograph: box (left, top, right, bottom) and landmarks float32 [68, 2] (x, y) in photo pixels.

    The landmarks know which way up the face is: of a face lying on its side the eyes lie one above the other.
    `score` is the detector's own confidence; scores of different detectors cannot be compared.
    """

    box: Box
    landmarks: np.ndarray
    score: float
    detector: str

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class Landmarker(Protocol):
    """Anything that places dlib's 68 landmarks in a face that is about upright."""

    def landmarks(self, image: Image.Image, box: Box) -> np.ndarray:
        """Landmarks float32 [68, 2] of the face of an RGB picture known to fill `box` (left, top, right, bottom)."""
        ...


class Detector(Protocol):
    """Anything that finds faces with dlib's 68 landmarks (the ones FFHQ was aligned by)."""

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture of any size, largest first; an empty list when there are none."""
        ...
