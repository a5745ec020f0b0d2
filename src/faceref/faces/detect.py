"""The detectors there are, by name."""

from faceref.errors import UsageError
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.face import Detector, Face
from faceref.faces.mtcnn_detector import MtcnnDetector
from faceref.faces.uniface import UnifaceDetector

__all__ = ["DETECTORS", "Detector", "DlibDetector", "Face", "MtcnnDetector", "UnifaceDetector", "load_detector"]

DETECTORS: dict[str, type[Detector]] = {"mtcnn": MtcnnDetector, "dlib": DlibDetector, "uniface": UnifaceDetector}


def load_detector(name: str = "mtcnn") -> Detector:
    """`mtcnn` (faces of any size, any way up), `dlib`, or `uniface` (an extra).

    Raises UsageError for another name, or where the extra is not installed.
    """
    if name not in DETECTORS:
        raise UsageError(f"There is no detector {name!r}", hint=f"choose {' or '.join(DETECTORS)}")
    return DETECTORS[name]()
