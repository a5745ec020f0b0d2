"""One detector for all tests of faces: its weights take a second to load."""

import pytest
from PIL import Image

from faceref.faces.detect import DlibDetector, Face, MtcnnDetector


@pytest.fixture(scope="session")
def detector() -> DlibDetector:
    return DlibDetector()


@pytest.fixture(scope="session")
def astronaut_face(detector: DlibDetector, astronaut: Image.Image) -> Face:
    return detector.detect(astronaut)[0]


@pytest.fixture(scope="session")
def mtcnn() -> MtcnnDetector:
    return MtcnnDetector()
