"""The mask follows the jaw and the forehead and leaves out what is not face."""

import numpy as np
import pytest
from PIL import Image

from faceref.faces.align import Alignment, align
from faceref.faces.detect import Face
from faceref.faces.mask import MASK_SIZE, face_contour, face_weights


def at(weights: np.ndarray, points: np.ndarray, alignment: Alignment) -> np.ndarray:
    """The weights [N, 2] at points [N, 2] of the photo."""
    x, y = Alignment(alignment.quad, MASK_SIZE).to_crop(points).round().astype(int).T
    return weights[y, x]


@pytest.fixture
def alignment(astronaut: Image.Image, astronaut_face: Face) -> Alignment:
    return align(astronaut, astronaut_face.landmarks, 64).alignment


def test_the_features_are_inside_and_the_surroundings_outside(alignment: Alignment, astronaut_face: Face):
    points = astronaut_face.landmarks
    weights = face_weights(points, alignment)
    assert weights.shape == (MASK_SIZE, MASK_SIZE, 2)
    assert at(weights, points[27:], alignment)[:, 0].min() > 0.95  # nose, eyes, mouth
    assert at(weights, points[31:36], alignment)[:, 1].min() > 0.95  # fine detail under the nose
    centre = points[27:].mean(0)
    beyond = centre + (points[2:15] - centre) * 1.25
    assert at(weights, beyond, alignment).max() == 0
    assert max(weights[0].max(), weights[-1].max(), weights[:, 0].max(), weights[:, -1].max()) < 0.05


def test_the_jaw_itself_is_restored_but_its_fine_detail_fades(alignment: Alignment, astronaut_face: Face):
    jaw = at(face_weights(astronaut_face.landmarks, alignment), astronaut_face.landmarks[3:14], alignment)
    assert ((jaw[:, 0] > 0.05) & (jaw[:, 0] < 0.7)).all()
    assert (jaw[:, 1] < jaw[:, 0]).all()


def test_the_forehead_lies_above_the_brows(astronaut_face: Face):
    points = astronaut_face.landmarks
    contour = face_contour(points)
    brows, nose, top = points[17:27].mean(0)[1], points[33, 1], contour[:, 1].min()
    assert 0.6 < (brows - top) / (nose - brows) < 1.1


def test_a_turned_face_has_a_turned_mask(alignment: Alignment, astronaut: Image.Image, astronaut_face: Face):
    points = astronaut_face.landmarks
    turned = np.stack([points[:, 1], astronaut.width - 1 - points[:, 0]], axis=1)  # a quarter to the left
    quad = np.stack([alignment.quad[:, 1], astronaut.width - 1 - alignment.quad[:, 0]], axis=1)
    expected = face_weights(points, alignment)
    np.testing.assert_allclose(face_weights(turned, Alignment(quad, 64)), expected, atol=0.05)


def test_a_small_face_has_a_softer_edge(alignment: Alignment, astronaut_face: Face):
    points, quad = astronaut_face.landmarks, alignment.quad
    large, small = (face_weights(points * scale, Alignment(quad * scale, 64))[..., 0] for scale in (1, 0.15))
    steepest = [np.abs(np.diff(weights, axis=1)).max() for weights in (large, small)]
    assert steepest[1] < 0.6 * steepest[0]


def test_with_the_head_hair_and_neck_are_restored_and_its_surroundings_are_not(alignment, astronaut_face: Face):
    points = astronaut_face.landmarks
    face, head = (face_weights(points, alignment, head=whole) for whole in (False, True))
    assert (head >= face).all()
    middle, top, bottom = MASK_SIZE // 2, int(0.12 * MASK_SIZE), int(0.95 * MASK_SIZE)  # hair; a throat
    assert face[[top, bottom], middle].max() == 0
    assert head[top, middle].min() > 0.8
    assert head[bottom, middle].min() > 0.1
    rim = [head[0], head[-1], head[:, 0], head[:, -1], head[: MASK_SIZE // 10, : MASK_SIZE // 10]]
    assert max(weights.max() for weights in rim) < 0.05
