"""Models on Hugging Face's hub: pushed whole, loaded by name, refused in one sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import TOKEN, hub_server
from huggingface_hub import constants

from faceref import Restorer
from faceref.checkpoints.hub import HubName
from faceref.checkpoints.info import find_model
from faceref.checkpoints.publish import push_model
from faceref.checkpoints.store import load_pipeline
from faceref.errors import CheckpointError, FacerefError, OutputError, UsageError

NAME = "org/tiny"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_that_was_pushed_is_the_same_by_its_name(hub, tiny_model_with_blind):
    url = push_model(tiny_model_with_blind, NAME, token=TOKEN)
    assert url.startswith(f"{hub.url}/{NAME}/commit/")
    assert NAME in hub.private, "until it is said that it be public"
    pushed = hub.repositories[NAME]["main"]
    assert pushed == files_of(tiny_model_with_blind) | {"README.md": pushed["README.md"]}
    restorer = Restorer.from_pretrained(NAME, "cpu", token=TOKEN)
    expected, _ = load_pipeline(tiny_model_with_blind)
    for name, tensor in expected.unet.state_dict().items():
        assert torch.equal(restorer.model.pipeline.unet.state_dict()[name], tensor), name
    assert restorer.blind.info.name == "tiny-blind"


def test_the_card_says_what_faceref_json_says(hub, tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    told = json.loads((folder / "faceref.json").read_text())
    told |= {"quality": {"severe: identity": 0.53}, "quality_command": "faceref evaluate tiny", "licence": "CC0"}
    (folder / "faceref.json").write_text(json.dumps(told))
    push_model(folder, NAME, token=TOKEN, public=True)
    assert NAME not in hub.private
    _, front, text = hub.repositories[NAME]["main"]["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "faceref"
    for said in ("| severe: identity | 0.53 |", "faceref evaluate tiny", "CC0", "64 x 64", f"--model {NAME}"):
        assert said in text


def test_a_card_of_ones_own_is_pushed_as_it_is(hub, tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "README.md").write_text("mine")
    push_model(folder, NAME, token=TOKEN)
    assert hub.repositories[NAME]["main"]["README.md"] == b"mine"


def test_a_revision_is_what_it_was(hub, tiny_model, tiny_blind_model):
    hub.add(NAME, files_of(tiny_model), "v1")
    hub.add(NAME, files_of(tiny_blind_model))
    assert Restorer.from_pretrained(NAME, "cpu", revision="v1").model.info.name == "tiny"
    assert Restorer.from_pretrained(f"{NAME}@v1", "cpu").model.info.name == "tiny"
    assert Restorer.from_pretrained(NAME, "cpu").model.info.name == "tiny-blind"
    with pytest.raises(UsageError, match="org/tiny has no revision v2"):
        find_model(f"{NAME}@v2")


def test_what_was_fetched_is_used_without_the_hub(hub, tiny_model, monkeypatch):
    hub.add(NAME, files_of(tiny_model))
    first = find_model(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert find_model(NAME) == first
    assert len(hub.asked) == asked
    load_pipeline(NAME)
    with pytest.raises(OutputError, match="org/other cannot be reached on the hub, and there is no copy of it here"):
        find_model("org/other")


def test_nothing_but_safetensors_and_json_is_fetched(hub, tiny_model):
    others = {"unet/diffusion_pytorch_model.bin": b"pickle", "modeling.py": b"import os", "vae/weights.ckpt": b"pickle"}
    hub.add(NAME, files_of(tiny_model) | others)
    folder = find_model(NAME)
    assert set(files_of(folder)) == set(files_of(tiny_model))
    assert not [path for path in hub.asked if any(path.endswith(f"/{name}") for name in others)]


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path != name}


def test_a_repository_without_our_files_is_refused_before_its_weights_are_fetched(hub, tiny_model):
    hub.add(NAME, without(files_of(tiny_model), "faceref.json"))
    with pytest.raises(CheckpointError, match=r"org/tiny is none of faceref: it has no faceref\.json"):
        find_model(NAME)
    assert not [path for path in hub.asked if "safetensors" in path]


@pytest.mark.parametrize("part", ["model_index.json", "unet/config.json"])
def test_a_class_that_is_not_ours_is_refused(hub, tiny_model, part):
    files = files_of(tiny_model)
    foreign = files[part].replace(b"ReFLDMPipeline", b"StableDiffusionPipeline").replace(b"ReferenceUNet", b"Evil")
    hub.add(NAME, files | {part: foreign})
    with pytest.raises(CheckpointError, match=r"StableDiffusionPipeline|Evil"):
        load_pipeline(NAME)


@pytest.mark.parametrize("token", [None, "hf_of_a_stranger"])
def test_a_private_model_is_refused_in_one_sentence(hub, tiny_model, token):
    hub.add(NAME, files_of(tiny_model))
    hub.private.add(NAME)
    with pytest.raises(UsageError, match="There is no model org/tiny on the hub, or it may not be read") as error:
        Restorer.from_pretrained(NAME, token=token)
    assert error.value.code == "hub_refuses"
    assert "\n" not in str(error.value)


def test_a_token_that_is_refused_pushes_nothing(hub, tiny_model):
    with pytest.raises(UsageError, match="with this token") as error:
        push_model(tiny_model, NAME, token="hf_of_a_stranger")
    assert "\n" not in str(error.value)
    assert not hub.repositories


@pytest.mark.parametrize("fault", ["html", "half"])
def test_a_proxys_page_or_half_a_file_is_one_sentence_and_no_model(hub, tiny_model, fault):
    hub.add(NAME, files_of(tiny_model))
    hub.fault = fault
    with pytest.raises(FacerefError) as error:
        find_model(NAME)
    assert "\n" not in str(error.value)
    assert "org/tiny cannot be reached on the hub" in str(error.value)
    hub.fault = None
    load_pipeline(NAME)


def test_a_disk_without_room_is_named(hub, tiny_model, monkeypatch):
    hub.add(NAME, files_of(tiny_model))

    def full(*_, **__):
        raise OSError(28, "No space left on device", "cache/blobs/1")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(OutputError, match="cache/blobs/1 cannot be written because the disk is full; free some space"):
        find_model(NAME)


def test_a_damaged_folder_is_not_pushed(hub, tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError):
        push_model(folder, NAME, token=TOKEN)
    assert not hub.asked


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "org/name@v1", "../name", "org/"])
def test_a_name_that_is_none_is_refused(hub, tiny_model, name):
    with pytest.raises(UsageError, match="is no name of a repository; write org/name"):
        push_model(tiny_model, name)


def test_a_folder_that_is_here_is_no_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UsageError, match="There is no model 'runs/model'"):
        find_model("runs/model")
    assert HubName.parse("org/model@v1.0") == HubName("org/model", "v1.0")


def test_a_model_is_pushed_to_whom_a_folder_here_is_named_after(hub, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann").mkdir()
    push_model(tiny_model, "ann/model", token=TOKEN)
    assert "ann/model" in hub.repositories
