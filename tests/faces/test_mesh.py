"""Landmarks of the mesh lie where dlib's do, whichever runtime computes it and whichever way up the face lies."""

import numpy as np
import pytest
from PIL import Image

from faceref.errors import UsageError
from faceref.faces.detect import DlibDetector, MeshLandmarker, MtcnnDetector, load_landmarker

BOX = (173.0, 65.0, 275.0, 167.0)  # of the astronaut's face
# jaw 0, 8, 16, nose 30, eyes 36, 45, mouth 48, 54 as Google's own runtime (ai-edge-litert 2.3.0) places them
BY_LITERT = [(179.82, 101.83), (221.75, 171.98), (271.15, 105.55), (223.1, 126.71), (193.99, 100.18), (255.84, 102.79)]
BY_LITERT += [(201.56, 139.84), (245.7, 141.25)]


def between_eyes(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))


@pytest.fixture(scope="module")
def landmarker() -> MeshLandmarker:
    return MeshLandmarker()


def test_they_are_what_googles_runtime_computes(landmarker: MeshLandmarker, astronaut: Image.Image):
    points = landmarker.landmarks(astronaut, BOX)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[[0, 8, 16, 30, 36, 45, 48, 54]], BY_LITERT, atol=0.02)


def test_they_lie_where_dlibs_do(landmarker: MeshLandmarker, astronaut: Image.Image):
    mesh, dlib = landmarker.landmarks(astronaut, BOX), DlibDetector().landmarks(astronaut, BOX)
    away = np.linalg.norm(mesh - dlib, axis=1) / between_eyes(dlib)
    for part, most in ((slice(0, 17), 0.2), (slice(17, 36), 0.12), (slice(36, 48), 0.05), (slice(48, 68), 0.06)):
        assert away[part].mean() < most, part


def test_a_larger_photograph_has_larger_landmarks(landmarker: MeshLandmarker, astronaut: Image.Image):
    points = landmarker.landmarks(astronaut, BOX)
    enlarged = astronaut.resize((2048, 2048), Image.Resampling.BICUBIC)
    box = tuple(4 * edge for edge in BOX)
    again = landmarker.landmarks(enlarged, box)  # type: ignore[arg-type]
    np.testing.assert_allclose((again + 0.5) / 4 - 0.5, points, atol=0.5)


def test_a_face_at_the_edge_has_them_too(landmarker: MeshLandmarker, astronaut: Image.Image):
    left = 180  # through the cheek
    cut = astronaut.crop((left, 0, 512, 512))
    points = landmarker.landmarks(cut, (BOX[0] - left, BOX[1], BOX[2] - left, BOX[3]))
    away = np.linalg.norm(points + np.array([left, 0]) - landmarker.landmarks(astronaut, BOX), axis=1)
    assert away[36:].mean() < 0.1 * between_eyes(points)


def test_a_face_that_lies_on_its_side_is_placed_by_the_detectors_five_points(
    landmarker: MeshLandmarker, astronaut: Image.Image
):
    portrait = astronaut.crop((96, 0, 352, 256))
    detector = MtcnnDetector(landmarker)
    (upright,), (lying,) = (detector.detect(one) for one in (portrait, portrait.transpose(Image.Transpose.ROTATE_90)))
    back = np.stack([255 - lying.landmarks[:, 1], lying.landmarks[:, 0]], axis=1)  # a quarter turn
    assert np.linalg.norm(back - upright.landmarks, axis=1).mean() < 0.1 * between_eyes(upright.landmarks)


def test_landmarks_that_there_are_not_are_refused():
    with pytest.raises(UsageError, match="There are no landmarks 'five'; choose dlib or mesh"):
        load_landmarker("five")
