"""Faded and dark photographs: faces are found, recognised and judged in full levels, and drawn in the photograph's."""

import numpy as np
import pytest
from PIL import Image

from faceref.errors import NoFaceError
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.pictures import levels
from faceref.pictures.photo import open_photo
from faceref.restore.options import RestoreOptions
from faceref.restore.steps import find_faces


def faded(image: Image.Image, contrast: float, black: int) -> Image.Image:
    return Image.fromarray(np.rint(np.asarray(image) * contrast + black).astype(np.uint8))


def only_face(image: Image.Image):
    (face,) = find_faces(open_photo(image), DlibDetector(), TorchDlibRecogniser())
    return face


def test_a_dark_photograph_s_face_is_found(portrait, monkeypatch):
    dark = faded(portrait, 0.04, 0)
    assert only_face(dark).number == 1
    monkeypatch.setattr(levels, "FADED", 0)
    with pytest.raises(NoFaceError):
        only_face(dark)


def test_a_faded_face_is_recognised_and_judged_as_it_was(portrait, monkeypatch):
    before, after = only_face(portrait), only_face(faded(portrait, 0.3, 150))
    monkeypatch.setattr(levels, "FADED", 0)
    as_it_is = only_face(faded(portrait, 0.3, 150))

    def away(face) -> float:
        return float(np.linalg.norm(face.probe - before.probe))

    assert away(after) < 0.5 * away(as_it_is)
    assert after.quality.psnr == pytest.approx(before.quality.psnr, abs=2)


def test_what_is_drawn_is_as_faded_as_the_photograph(restorer, portrait, mirrored):
    photo = faded(portrait, 0.3, 150)
    options = RestoreOptions(always=True, face=1)
    image = np.asarray(restorer.restore(photo, [mirrored], options).image)
    assert (image != np.asarray(photo)).any()
    ends = np.quantile(image, (0.002, 0.998))  # but for what correcting adds to the finest detail
    np.testing.assert_allclose(ends, np.quantile(np.asarray(photo), (0.002, 0.998)), atol=10)


def test_an_aligned_face_is_drawn_as_faded_as_it_is(restorer, portrait, mirrored):
    photo = faded(portrait, 0.3, 150)
    image = np.asarray(restorer.restore(photo, [mirrored], RestoreOptions(always=True, aligned=True)).image)
    assert image.min() >= 140
    assert image.max() <= 236
