"""Exported models: model folders of their own, and those that are kept for --backend."""

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from networks import MODEL_UNET, noise
from typer.testing import CliRunner, Result

from faceref.app.cli.main import app
from faceref.backends import installed
from faceref.checkpoints import exported
from faceref.checkpoints.exported import export_model
from faceref.checkpoints.info import fingerprint_of
from faceref.checkpoints.store import load_pipeline, save_model
from faceref.errors import CheckpointError, FacerefError, OutputError, UsageError
from faceref.models.mechanisms import CrossAttentionUNet
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.restore.request import Request

CLOSE = 1e-3  # of pictures in [-1, 1]


@pytest.fixture(scope="session")
def openvino_folder(tiny_blind_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino", reason="needs openvino: pip install 'faceref[openvino]'")
    folder = tmp_path_factory.mktemp("exports") / "openvino"
    done = faceref("models", "export", tiny_blind_model, "--to", "openvino", "-o", folder)
    assert done.exit_code == 0, done.stderr
    assert "denoise.xml" in done.stdout
    return folder


def faceref(*arguments: object) -> Result:
    """The command."""
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def copied(openvino_folder: Path, tmp_path: Path) -> Path:
    """An export that a test may change."""
    return Path(shutil.copytree(openvino_folder, tmp_path / "copied"))


def test_an_export_is_a_model_that_needs_no_other(tiny_blind_model: Path, openvino_folder: Path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", None)
    torchs, _ = load_pipeline(tiny_blind_model)
    others, info = load_pipeline(openvino_folder)
    assert others.backend == "openvino"
    assert info.name == "tiny-blind"
    assert isinstance(torchs, LDBFRPipeline)
    assert isinstance(others, LDBFRPipeline)
    lq, noisy = noise(3, 3, 64, 64).clamp(-1, 1), noise(3, 4, 16, 16, seed=1)
    one, other = (torch.as_tensor(each(lq, latents=noisy, output_type="raw").images) for each in (torchs, others))
    assert (one - other).abs().max() < CLOSE
    assert (torchs.restore_stage1(lq) - others.restore_stage1(lq)).abs().max() < CLOSE


def test_it_says_what_it_is(openvino_folder: Path):
    told = json.loads((openvino_folder / "export.json").read_text())
    assert re.fullmatch(r"[0-9a-f]{16}", told["model"])
    assert told["faceref"].count(".") == 2
    assert told["graphs"]["denoise"]["inputs"] == {
        "sample": ["batch", 4, 16, 16],
        "timestep": [1],
        "features": ["batch", 16, 4, 4],
    }
    assert "openvino, by faceref" in faceref("models", "info", openvino_folder).stdout
    assert {path.name for path in openvino_folder.glob("*.xml")} == {f"{name}.xml" for name in told["graphs"]}
    before, graph = fingerprint_of(openvino_folder), openvino_folder / "denoise.xml"
    content = graph.read_bytes()
    graph.write_bytes(content + b"\n")
    assert fingerprint_of(openvino_folder) != before
    graph.write_bytes(content)
    assert fingerprint_of(openvino_folder) == before


def test_a_face_is_restored_by_an_export_and_the_result_says_so(openvino_folder: Path, tmp_path: Path, portrait):
    portrait.save(tmp_path / "face.png")
    done = faceref("restore", tmp_path / "face.png", "--aligned", "--model", openvino_folder, "--always", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["faces"][0]["settings"]["backend"] == "openvino"
    assert Request(str(openvino_folder)).settings()["backend"] == "openvino"
    refused = faceref("restore", tmp_path / "face.png", "--model", openvino_folder, "--backend", "torch")
    assert refused.exit_code == 2
    assert refused.stderr.endswith("give another --backend, or the model that it was exported from.\n")


def test_an_export_of_another_version_is_one_sentence(copied: Path):
    told = json.loads((copied / "export.json").read_text()) | {"faceref": "0.0.1"}
    (copied / "export.json").write_text(json.dumps(told))
    with pytest.raises(
        CheckpointError, match=r"copied was exported by faceref 0\.0\.1, and this is .*; export the model"
    ):
        load_pipeline(copied)


def test_an_export_whose_graphs_take_other_inputs_is_one_sentence(copied: Path):
    told = json.loads((copied / "export.json").read_text())
    del told["layout"]  # as 0.2.0 wrote them
    (copied / "export.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match="whose graphs take other inputs; export the model again") as refused:
        load_pipeline(copied)
    assert refused.value.code == "other_version"


@pytest.mark.parametrize(
    ("file", "content"), [("export.json", "{}"), ("denoise.xml", "no graph"), ("decode.xml", None)]
)
def test_a_damaged_export_is_one_sentence(copied: Path, file: str, content: str | None):
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_text(content)
    with pytest.raises(CheckpointError, match=f"{file} .*; export the model again") as refused:
        load_pipeline(copied)[0](noise(1, 3, 64, 64))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_an_export_is_computed_by_what_it_is_for(openvino_folder: Path, backend):
    with pytest.raises(UsageError, match=f"is exported as openvino, not for {backend}; compute with openvino"):
        load_pipeline(openvino_folder, backend=backend)


def test_an_export_is_not_exported_again(openvino_folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="is exported already"):
        export_model(openvino_folder, "onnx", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"device": "cuda"}, "on the CPU in float32, not on cuda"),
        ({"device": "nowhere"}, "on the CPU in float32, not on nowhere"),
        ({"dtype": "bfloat16"}, "not in bfloat16"),
        ({"memory": "low"}, "not in low memory"),
    ],
)
def test_what_torch_alone_can_do_is_refused(tiny_model: Path, asked: dict, sentence: str):
    with pytest.raises(UsageError, match=f"{sentence}; leave that out, or compute with torch"):
        load_pipeline(tiny_model, backend="openvino", **asked)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_backend_that_is_not_installed_is_named_with_its_extra(tiny_model: Path, monkeypatch, backend):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"{backend} is not installed; pip install 'faceref\[{backend}\]'") as refused:
        load_pipeline(tiny_model, backend=backend)
    assert refused.value.code == "no_backend"


def test_where_there_is_no_room_nothing_is_left(tiny_model: Path, tmp_path: Path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(exported.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(OutputError, match=r"cannot be exported: that takes \d+ MB, and 0 MB are free; free some space"):
        export_model(tiny_model, "onnx", tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(FacerefError, match="cannot be exported"):
        load_pipeline(tiny_model, backend="onnxruntime")


def test_networks_for_ablations_are_not_exported(tiny_model: Path, tmp_path: Path):
    pipeline, info = load_pipeline(tiny_model)
    assert isinstance(pipeline, ReFLDMPipeline)
    other = ReFLDMPipeline(CrossAttentionUNet(**MODEL_UNET), pipeline.vae, DDIMScheduler())  # type: ignore[arg-type]
    save_model(other, info, tmp_path / "model")
    with pytest.raises(UsageError, match="CrossAttentionUNet is for ablations and cannot be exported"):
        export_model(tmp_path / "model", "onnx", tmp_path / "out")
