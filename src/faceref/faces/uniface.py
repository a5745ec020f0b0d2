"""Finding small and turned faces with the package uniface (an extra), behind the same interface as dlib's detectors.

uniface downloads the detector's weights on first use. They come from insightface: for research, not for products.
"""

import threading

import numpy as np
from PIL import Image

from faceref.errors import FacerefError, UsageError
from faceref.faces.boxes import Box
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.face import Face, Landmarker
from faceref.faces.landmarks import landmarks_from_five
from faceref.faces.strips import Found, found_in_pieces


class UnifaceDetector:
    """SCRFD (Guo et al. 2021) finds faces with five landmarks; dlib then finds the 68 in each, turned upright by those.

    Raises UsageError where uniface is not installed, FacerefError where its weights cannot be had.
    """

    def __init__(self, landmarker: Landmarker | None = None) -> None:
        """landmarker: places the 68 landmarks; dlib does by default."""
        try:
            from uniface.detection import SCRFD  # type: ignore[import-not-found]  # extra uniface
        except ImportError:
            raise UsageError(
                "The detector uniface is not installed", hint="use pip install 'faceref[uniface]'"
            ) from None
        try:
            self._scrfd = SCRFD()
        except (ConnectionError, RuntimeError) as error:
            raise FacerefError(
                "The weights of uniface's detector cannot be downloaded", hint="go online for its first use"
            ) from error
        self._landmarker = landmarker or DlibDetector()
        self._lock = threading.Lock()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture, largest first; SCRFD sees it, or each piece of a panorama, at 640 px."""
        with self._lock:
            found = found_in_pieces(image, self._look)
        faces = [
            Face(_box(points[:2]), landmarks_from_five(image, points[2:], self._landmarker), score, "uniface-scrfd")
            for points, score in found
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _look(self, image: Image.Image) -> list[Found]:
        """Corners and five landmarks of each face."""
        found = self._scrfd.detect(np.asarray(image)[..., ::-1])  # BGR
        return [(np.concatenate([one.bbox.reshape(2, 2), one.landmarks]), one.confidence) for one in found]


def _box(corners: np.ndarray) -> Box:
    left, top, right, bottom = corners.ravel().tolist()
    return left, top, right, bottom
