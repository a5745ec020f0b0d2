"""dlib's network in PyTorch says what dlib says."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from faceref.errors import CheckpointError, UsageError
from faceref.faces.detect import Face
from faceref.faces.dlib_torch import TorchDlibRecogniser, load_dlib_resnet, load_recogniser
from faceref.faces.recognise import DlibRecogniser


def test_embeddings_are_those_of_dlib(astronaut: Image.Image, astronaut_face: Face):
    images = [astronaut, ImageEnhance.Brightness(astronaut).enhance(0.5), Image.new("RGB", astronaut.size, "white")]
    landmarks = [astronaut_face.landmarks] * 3
    expected = DlibRecogniser().embed_batch(images, landmarks)
    ours = TorchDlibRecogniser(torch.device("cpu")).embed_batch(images, landmarks)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert np.linalg.norm(expected[0] - expected[2]) > 0.3  # the comparison is not between constants


def test_probes_are_of_the_network_that_is_asked_for(astronaut: Image.Image, astronaut_face: Face):
    """Both say nearly the same of a good photograph; of one reduced to 24 px the trained one says more of it."""
    small = astronaut.resize((48, 48), Image.Resampling.BOX).resize(astronaut.size, Image.Resampling.BICUBIC)
    seen = [astronaut, small], [astronaut_face.landmarks] * 2
    dlib, trained = load_recogniser("dlib"), load_recogniser("trained")
    good, bad = dlib.embed_batch(*seen)
    np.testing.assert_array_equal(dlib.embed_probes(*seen), [good, bad])
    of_good, of_bad = trained.embed_probes(*seen)
    assert np.linalg.norm(of_good - good) < 0.3
    assert np.linalg.norm(of_bad - good) < 0.9 * np.linalg.norm(bad - good)
    with pytest.raises(UsageError, match="no recogniser 'arcface'"):
        load_recogniser("arcface")


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.dat"
    path.write_bytes(b"con_4 but nothing of dlib's")
    with pytest.raises(CheckpointError, match=r"weights\.dat is not dlib's face recognition network"):
        load_dlib_resnet(path)
