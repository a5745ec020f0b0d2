"""The centred cosine is 1 for the same face and about 0 for strangers; its mean is read, written and computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.errors import DataError
from faceref.evaluation.faces import FaceDescriber, compute_centre, read_face
from faceref.faces.centre import Centre
from faceref.faces.dlib_torch import TorchDlibRecogniser

SIZE = 64


@pytest.fixture(scope="module")
def describer() -> FaceDescriber:
    return FaceDescriber(TorchDlibRecogniser(torch.device("cpu")), SIZE)


def test_the_shipped_mean_lies_where_dlibs_embeddings_lie(describer: FaceDescriber, album: Path):
    centre = Centre.shipped()
    embedding = describer.photographs([album / "ann/0.png"])[0].embedding
    assert 1.2 < np.linalg.norm(centre.mean) < 1.4  # embeddings have length 1.4; their common part is most of it
    assert centre.cosine(embedding, embedding) == pytest.approx(1)
    assert centre.cosine(embedding, 2 * centre.mean - embedding) == pytest.approx(-1)


def test_the_mean_of_an_index_is_the_mean_of_its_photographs(describer: FaceDescriber, album: Path, tmp_path: Path):
    centre = compute_centre(album / "index.csv", "test", describer, seed=0)
    photos = sorted(album.glob("*/*.png"))
    expected = np.mean([face.embedding for face in describer.photographs(photos)], axis=0)
    np.testing.assert_allclose(centre.mean, expected, atol=1e-6)
    centre.write(tmp_path / "center.json")
    np.testing.assert_allclose(Centre.read(tmp_path / "center.json").mean, centre.mean, atol=1e-6)
    with pytest.raises(DataError, match="split 'val'"):
        compute_centre(album / "index.csv", "val", describer, seed=0)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"bad\.json is not a mean"):
        Centre.read(tmp_path / "bad.json")


def test_a_face_without_anything_to_detect_is_measured_all_the_same(describer: FaceDescriber, album: Path):
    face = describer.photographs([album / "ann/0.png"])[0]
    grey = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    embeddings = describer.embed(grey, [face.landmarks])
    assert embeddings.shape == (1, 128)
    assert Centre.shipped().cosine(embeddings[0], face.embedding) < 0.5


def test_padding_is_known_and_its_colours_are_kept(album: Path, tmp_path: Path):
    with Image.open(album / "ann/0.png") as image:
        rgba = image.convert("RGBA")
    alpha = Image.new("L", rgba.size, 255)
    alpha.paste(0, (0, 0, SIZE // 2, SIZE))
    rgba.putalpha(alpha)
    rgba.save(tmp_path / "padded.png")
    face, whole = read_face(tmp_path / "padded.png", SIZE), read_face(album / "ann/0.png", SIZE)
    assert face.inside[:, : SIZE // 2].max() == 0
    assert face.inside[:, SIZE // 2 :].min() == 1
    np.testing.assert_array_equal(face.pixels, whole.pixels)
    assert whole.inside.min() == 1
    with pytest.raises(DataError, match=r"gone\.png"):
        read_face(tmp_path / "gone.png", SIZE)
