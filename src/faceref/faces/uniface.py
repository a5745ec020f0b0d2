"""Finding small and turned faces with the package uniface (an extra), behind the same interface as dlib's detectors.

uniface downloads the detector's weights on first use. They come from insightface: for research, not for products.
"""

import threading

import numpy as np
from PIL import Image

from faceref.errors import FacerefError, UsageError
from faceref.faces.align import align
from faceref.faces.detect import DlibDetector, Face
from faceref.faces.recognise import ALIGNED_FACE_BOX

UPRIGHT_SIZE = 256  # pixels of the aligned face that the 68 landmarks are looked for in


class UnifaceDetector:
    """SCRFD (Guo et al. 2021) finds faces with five landmarks; dlib then finds the 68 in each, turned upright by those.

    Raises UsageError where uniface is not installed, FacerefError where its weights cannot be had.
    """

    def __init__(self) -> None:
        try:
            from uniface.detection import SCRFD  # type: ignore[import-not-found]  # extra uniface
        except ImportError:
            raise UsageError("The detector uniface is not installed; use pip install 'faceref[uniface]'.") from None
        try:
            self._scrfd = SCRFD()
        except (ConnectionError, RuntimeError) as error:
            raise FacerefError(
                "The weights of uniface's detector cannot be downloaded; go online for its first use."
            ) from error
        self._landmarker = DlibDetector()
        self._lock = threading.Lock()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture, largest first; SCRFD sees it scaled to a long side of 640 px."""
        with self._lock:
            found = self._scrfd.detect(np.asarray(image)[..., ::-1])  # BGR
        faces = [
            Face(_box(one.bbox), self._landmarks(image, one.landmarks), one.confidence, "uniface-scrfd")
            for one in found
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _landmarks(self, image: Image.Image, five: np.ndarray) -> np.ndarray:
        """Landmarks float32 [68, 2] from five [5, 2]: left eye, right eye, nose, left and right corner of the mouth."""
        known = np.zeros((68, 2))  # those that FFHQ's alignment looks at
        known[36:42], known[42:48], known[48], known[54] = five[0], five[1], five[3], five[4]
        upright = align(image, known, UPRIGHT_SIZE)
        left, top, right, bottom = (edge * UPRIGHT_SIZE for edge in ALIGNED_FACE_BOX)
        points = self._landmarker.landmarks(upright.image, (left, top, right, bottom))
        return upright.alignment.to_photo(points).astype(np.float32)


def _box(edges: np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = edges.tolist()
    return left, top, right, bottom
