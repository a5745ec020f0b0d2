"""uniface's detector behind our interface. Its weights are a download, so that a stand-in for SCRFD is used here."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from faceref.errors import FacerefError, UsageError
from faceref.faces.detect import DlibDetector, Face, load_detector

# Read off the astronaut enlarged by eye (x, y): pupils, tip of the nose, corners of the mouth
FIVE = np.array([(203.5, 101), (247, 103.5), (224, 122), (202.5, 139.5), (246, 140.5)], dtype=np.float32)
BOX = np.array([178, 62, 270, 168], dtype=np.float32)


@pytest.fixture
def scrfd(monkeypatch):
    """In place of uniface 4.2: `SCRFD().detect(BGR)` gives what was put into `faces`, and remembers the picture."""

    class SCRFD:
        faces: list = []  # noqa: RUF012
        seen: np.ndarray

        def detect(self, image: np.ndarray) -> list:
            SCRFD.seen = image
            return self.faces

    module = types.ModuleType("uniface.detection")
    module.SCRFD = SCRFD  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uniface", types.ModuleType("uniface"))
    monkeypatch.setitem(sys.modules, "uniface.detection", module)
    return SCRFD


def found(box: np.ndarray, five: np.ndarray) -> types.SimpleNamespace:
    return types.SimpleNamespace(bbox=box, confidence=0.9, landmarks=five)


def test_a_face_gets_the_68_landmarks_that_dlib_finds_in_it(scrfd, astronaut: Image.Image, astronaut_face: Face):
    scrfd.faces = [found(BOX / 2, FIVE / 2), found(BOX, FIVE)]
    large, small = load_detector("uniface").detect(astronaut)
    assert (scrfd.seen == np.asarray(astronaut)[..., ::-1]).all()
    assert large.box == tuple(BOX)
    assert small.area == pytest.approx(large.area / 4)
    assert (large.landmarks.shape, large.landmarks.dtype) == ((68, 2), np.float32)
    # within 3 % of the face's width of where dlib's own detector puts them
    assert np.abs(large.landmarks - astronaut_face.landmarks).mean() < 0.03 * 90


def test_a_panorama_is_seen_in_pieces(scrfd, astronaut: Image.Image, monkeypatch):
    panorama = Image.new("RGB", (6 * 512, 512), "gray")
    panorama.paste(astronaut, (5 * 512, 0))

    def seen(self, image: np.ndarray) -> list:
        assert image.shape == (512, 4 * 512, 3)
        is_last = (image[:, 3 * 512 :, ::-1] == np.asarray(astronaut)).all()
        there = np.array([1536, 0], np.float32)
        return [found(BOX + np.tile(there, 2), FIVE + there)] if is_last else []

    monkeypatch.setattr(scrfd, "detect", seen)
    (face,) = load_detector("uniface").detect(panorama)
    assert face.box == tuple(BOX + np.array([2560, 0, 2560, 0], np.float32))
    assert 2560 < face.landmarks[:, 0].min() < face.landmarks[:, 0].max() < panorama.width


@pytest.mark.parametrize("degrees", [90, 140])
def test_a_turned_face_gets_landmarks_where_they_are(
    degrees: int, scrfd, detector: DlibDetector, astronaut: Image.Image, astronaut_face: Face
):
    radians = np.deg2rad(degrees)  # Pillow turns counterclockwise about the centre, y points down
    matrix = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])

    def turned(points: np.ndarray) -> np.ndarray:
        return (points - 255.5) @ matrix.T + 255.5

    scrfd.faces = [found(BOX, turned(FIVE))]
    picture = astronaut.rotate(degrees, Image.Resampling.BICUBIC)
    (face,) = load_detector("uniface").detect(picture)
    assert np.abs(face.landmarks - turned(astronaut_face.landmarks)).mean() < 0.03 * 90
    assert not any(face.detector == "dlib-hog" for face in detector.detect(picture))  # dlib's HOG does not see it


def test_what_is_missing_is_said_in_one_sentence(scrfd, monkeypatch):
    monkeypatch.setattr(scrfd, "__init__", lambda self: (_ for _ in ()).throw(ConnectionError("no route")))
    with pytest.raises(FacerefError, match="cannot be downloaded; go online"):
        load_detector("uniface")
    monkeypatch.setitem(sys.modules, "uniface", None)
    monkeypatch.delitem(sys.modules, "uniface.detection")
    with pytest.raises(UsageError, match=r"pip install 'faceref\[uniface\]'"):
        load_detector("uniface")
    with pytest.raises(UsageError, match="no detector 'yolo'; choose mtcnn or dlib or uniface"):
        load_detector("yolo")
