"""Where models live: named ones, folders, damaged ones."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
import torch

from faceref.checkpoints.info import find_model, read_info
from faceref.checkpoints.original import import_refldm
from faceref.checkpoints.store import load_pipeline, save_model
from faceref.errors import CheckpointError, OutputError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden" / "refldm-mini"


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "mini"
    import_refldm(GOLDEN / "refldm.ckpt", GOLDEN / "vqgan.ckpt", folder, resolution=32)
    return folder


@pytest.fixture
def model(imported, tmp_path) -> Path:
    return Path(shutil.copytree(imported, tmp_path / "mini"))


def test_a_saved_model_is_the_same_model_again(model, tmp_path):
    pipeline, info = load_pipeline(model, dtype=torch.bfloat16)
    assert pipeline.unet.dtype == pipeline.vae.dtype == torch.bfloat16
    pipeline, _ = load_pipeline(model)
    save_model(pipeline, info.model_copy(update={"quality": {"identity": 0.5}}), tmp_path / "again")
    again, info_again = load_pipeline(tmp_path / "again")
    for name, tensor in pipeline.unet.state_dict().items():
        assert torch.equal(again.unet.state_dict()[name], tensor), name
    assert info_again.quality == {"identity": 0.5}
    assert not [path for path in (tmp_path / "again").rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]


def test_a_model_that_is_loaded_and_saved_says_nothing_of_this_machine(model, tmp_path):
    save_model(*load_pipeline(model), tmp_path / "again")
    said = "".join(path.read_text() for path in (tmp_path / "again").rglob("*.json"))
    assert "unet" in said
    assert str(model) not in said


def test_an_unknown_model_is_refused_with_the_choices():
    with pytest.raises(UsageError) as error:
        load_pipeline("large")
    choices = "small, refldm-512, a model folder, or org/name of a model on Hugging Face's hub"
    assert str(error.value) == f"There is no model 'large'; give {choices}."


def test_refldm_is_not_here_before_it_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="non-commercial research only; fetch it with") as error:
        find_model("refldm-512")
    assert error.value.code == "model_not_here"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [("steps", 0, "steps: "), ("family", "gan", "family: "), ("colour", "blue", "colour: ")],
)
def test_a_malformed_description_is_refused_by_its_field(model, field, value, complaint):
    path = model / "faceref.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=f"is not a model description: {complaint}"):
        read_info(model)


@pytest.mark.parametrize("damage", ["unet/diffusion_pytorch_model.safetensors", "model_index.json", "vae/config.json"])
def test_a_damaged_folder_is_refused_with_one_sentence(model, damage):
    (model / damage).write_bytes((model / damage).read_bytes()[:100])
    with pytest.raises(CheckpointError) as error:
        load_pipeline(model)
    assert str(model) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["prediction_type", "timestep_spacing", "beta_schedule"])
def test_a_schedule_that_nobody_knows_is_refused_when_it_is_loaded(model, key):
    path = model / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "foo"}))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_pipeline(model)


def test_a_saved_model_can_be_read_by_whom_the_umask_lets_read(model, tmp_path):
    before = os.umask(0o027)
    try:
        save_model(*load_pipeline(model), tmp_path / "again")
    finally:
        os.umask(before)
    folder = tmp_path / "again"
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (folder, *folder.rglob("*"))}
    assert modes == {(True, 0o750), (False, 0o640)}


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    (tmp_path / "file").write_text("")
    pipeline, info = load_pipeline(model)
    with pytest.raises(OutputError, match=r"file.out cannot be written"):
        save_model(pipeline, info, tmp_path / "file" / "out")


@pytest.mark.parametrize("resolution", [1, 130, 100_000])
def test_a_resolution_that_no_network_takes_is_refused(tiny_model, tmp_path, resolution):
    told = (tiny_model / "faceref.json").read_text()
    (tmp_path / "faceref.json").write_text(told.replace('"resolution": 64', f'"resolution": {resolution}'))
    with pytest.raises(CheckpointError, match="is not a model description: resolution: "):
        read_info(tmp_path)
