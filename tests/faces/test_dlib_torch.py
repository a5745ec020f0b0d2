"""dlib's network in PyTorch says what dlib says."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from faceref.errors import CheckpointError
from faceref.faces.detect import Face
from faceref.faces.dlib_torch import TorchDlibRecogniser, load_dlib_resnet
from faceref.faces.recognise import DlibRecogniser


def test_embeddings_are_those_of_dlib(astronaut: Image.Image, astronaut_face: Face):
    images = [astronaut, ImageEnhance.Brightness(astronaut).enhance(0.5), Image.new("RGB", astronaut.size, "white")]
    landmarks = [astronaut_face.landmarks] * 3
    expected = DlibRecogniser().embed_batch(images, landmarks)
    ours = TorchDlibRecogniser(torch.device("cpu")).embed_batch(images, landmarks)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert np.linalg.norm(expected[0] - expected[2]) > 0.3  # the comparison is not between constants


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "weights.dat"
    path.write_bytes(b"con_4 but nothing of dlib's")
    with pytest.raises(CheckpointError, match=r"weights\.dat is not dlib's face recognition network"):
        load_dlib_resnet(path)
