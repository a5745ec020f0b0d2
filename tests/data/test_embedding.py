"""Embeddings by any ONNX file, through ONNX Runtime; what embedding leaves behind in the process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.data.embedding import embed_faces
from faceref.data.embedding_space import embedding_space
from faceref.errors import CheckpointError
from faceref.faces.dlib_torch import TorchDlibRecogniser

onnx: Any = pytest.importorskip("onnx", reason="the extra arcface (onnx, onnxruntime) is not installed")
pytest.importorskip("onnxruntime", reason="the extra arcface (onnx, onnxruntime) is not installed")

SIZE = 64
BORDER = 4  # pixels: 0.0625 of the side, outside of ArcFace's box


@pytest.fixture
def mean_colour(tmp_path: Path) -> Path:
    """A network [1, 3, 112, 112] -> [1, 3]."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["mean"]), helper.make_node("Flatten", ["mean"], ["y"])]
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])
    vector = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "mean_colour", [picture], [vector])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "mean_colour.onnx"))
    return tmp_path / "mean_colour.onnx"


def test_any_onnx_network_sees_arcfaces_box_in_rgb(mean_colour: Path, tmp_path: Path):
    face = Image.new("RGB", (SIZE, SIZE), "lime")  # outside of the box
    face.paste((255, 0, 102), (BORDER, BORDER, SIZE - BORDER, SIZE - BORDER))
    face.save(tmp_path / "face.png")
    space = embedding_space(mean_colour)
    done = embed_faces(tmp_path, [{"file": "face.png"}], space)
    expected = np.array([1, -1, -0.2])  # 102 / 127.5 - 1
    np.testing.assert_allclose(done.vectors[0], expected / np.linalg.norm(expected), atol=1e-4)
    assert (tmp_path / "embeddings" / f"{space.name}.npz").exists()


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_that_is_no_onnx_is_named(tmp_path: Path, ray: bool):
    if ray:
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceref[ray]' to run this test.")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "face.png")
    with pytest.raises(CheckpointError, match=r"broken\.onnx"):
        embed_faces(tmp_path, [{"file": "face.png"}], embedding_space(tmp_path / "broken.onnx"), ray=ray)


def test_it_computes_on_one_thread_and_leaves_the_caller_his_own_number(tmp_path: Path, monkeypatch):
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "face.png")
    inside = []
    embed = TorchDlibRecogniser.embed_aligned

    def watched(self: TorchDlibRecogniser, faces: list[Image.Image]) -> np.ndarray:
        inside.append(torch.get_num_threads())
        return embed(self, faces)

    monkeypatch.setattr(TorchDlibRecogniser, "embed_aligned", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        embed_faces(tmp_path, [{"file": "face.png"}], embedding_space(None), workers=1)
        assert (inside, torch.get_num_threads()) == ([1, 1], 3)
    finally:
        torch.set_num_threads(before)


def test_a_damaged_file_of_embeddings_is_made_anew(mean_colour: Path, tmp_path: Path):
    Image.new("RGB", (SIZE, SIZE), "red").save(tmp_path / "face.png")
    space = embedding_space(mean_colour)
    first = embed_faces(tmp_path, [{"file": "face.png"}], space)
    cache = tmp_path / "embeddings" / f"{space.name}.npz"
    whole = cache.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        cache.write_bytes(content)
        again = embed_faces(tmp_path, [{"file": "face.png"}], space)
        np.testing.assert_array_equal(again.vectors, first.vectors)
        assert cache.read_bytes() == whole


def test_where_embeddings_cannot_be_kept_they_are_computed_all_the_same(
    mean_colour: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Image.new("RGB", (SIZE, SIZE), "red").save(tmp_path / "face.png")
    (tmp_path / "embeddings").write_text("a file where the folder would be")
    found = embed_faces(tmp_path, [{"file": "face.png"}], embedding_space(mean_colour))
    assert len(found.vectors) == 1
    assert "Embeddings are not kept" in caplog.text
