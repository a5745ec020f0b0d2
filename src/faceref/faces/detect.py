"""The detectors and landmarkers there are, by name."""

from collections.abc import Callable

from faceref.errors import UsageError
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.face import Detector, Face, Landmarker
from faceref.faces.mesh import MeshLandmarker
from faceref.faces.mtcnn_detector import MtcnnDetector
from faceref.faces.uniface import UnifaceDetector

__all__ = [
    "DETECTORS",
    "LANDMARKERS",
    "Detector",
    "DlibDetector",
    "Face",
    "Landmarker",
    "MeshLandmarker",
    "MtcnnDetector",
    "UnifaceDetector",
    "load_detector",
    "load_landmarker",
]

DETECTORS: dict[str, Callable[[Landmarker | None], Detector]] = {
    "mtcnn": MtcnnDetector,
    "dlib": DlibDetector,
    "uniface": UnifaceDetector,
}
LANDMARKERS: dict[str, Callable[[], Landmarker]] = {"dlib": DlibDetector, "mesh": MeshLandmarker}


def load_detector(name: str = "mtcnn", landmarker: Landmarker | None = None) -> Detector:
    """`mtcnn` (faces of any size, any way up), `dlib`, or `uniface` (an extra); dlib's landmarks by default.

    Raises UsageError for another name, or where the extra is not installed.
    """
    if name not in DETECTORS:
        raise UsageError(f"There is no detector {name!r}", hint=f"choose {' or '.join(DETECTORS)}")
    return DETECTORS[name](landmarker)


def load_landmarker(name: str = "dlib") -> Landmarker:
    """`dlib` (what FFHQ was aligned by; its terms exclude products), or `mesh` (Apache-2.0, a little less exact).

    Raises UsageError for another name.
    """
    if name not in LANDMARKERS:
        raise UsageError(f"There are no landmarks {name!r}", hint=f"choose {' or '.join(LANDMARKERS)}")
    return LANDMARKERS[name]()
