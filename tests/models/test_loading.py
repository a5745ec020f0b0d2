"""The one loader of networks: what it reads is whole, finite and of a known class, or there is a sentence why not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from faceref.errors import CheckpointError
from faceref.models.autoencoder import AUTOENCODERS, PixelUnshuffleVQModel
from faceref.models.fusion import PixelFusion
from faceref.models.loading import load_component

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with an autoencoder in vae/."""
    autoencoder = PixelUnshuffleVQModel(base_channels=32, codebook_size=16)
    autoencoder.save_pretrained(tmp_path / "model" / "vae")
    return tmp_path / "model"


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "vae" / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / "vae" / WEIGHTS, metadata={"format": "pt"})


def refusal(folder: Path, kinds=AUTOENCODERS) -> CheckpointError:
    with pytest.raises(CheckpointError) as error:
        load_component(folder, kinds, "vae")
    assert "\n" not in str(error.value)
    return error.value


def test_a_component_is_read_from_its_model_or_by_itself_ready_to_be_used(folder):
    for place in (folder, folder / "vae"):
        autoencoder = load_component(place, AUTOENCODERS, "vae")
        assert type(autoencoder) is PixelUnshuffleVQModel
        assert not autoencoder.training
        for name, tensor in load_file(folder / "vae" / WEIGHTS).items():
            assert torch.equal(autoencoder.state_dict()[name], tensor)
    assert load_component(folder, AUTOENCODERS, "vae", torch.bfloat16).dtype == torch.bfloat16


def test_loading_draws_no_random_number(folder):
    before = torch.get_rng_state()
    load_component(folder, AUTOENCODERS, "vae")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_component_and_name(folder, value):
    def blow_up(tensors):
        tensors["vq.decoder.conv_out.weight"][0, 0, 0, 0] = value

    change_weights(folder, blow_up)
    error = refusal(folder)
    assert error.code == "not_finite"
    assert error.subject == str(folder / "vae")
    assert "vq.decoder.conv_out.weight" in error.reason


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("vq.decoder.conv_out.weight"),
        lambda tensors: tensors.update(stranger=torch.zeros(1)),
        lambda tensors: tensors.update({"vq.decoder.conv_out.weight": torch.zeros(1, 32, 3, 3)}),
    ],
    ids=["missing", "left over", "of another shape"],
)
def test_weights_that_do_not_fit_are_refused(folder, damage):
    change_weights(folder, damage)
    assert f"There is no usable PixelUnshuffleVQModel in {folder / 'vae'}" in str(refusal(folder))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_configuration_is_refused(folder, content):
    (folder / "vae" / "config.json").write_bytes(content)
    assert str(folder / "vae") in str(refusal(folder))


def test_a_class_that_is_not_wanted_is_never_made(folder):
    assert refusal(folder, (PixelFusion,)).reason == "holds a PixelUnshuffleVQModel, not a PixelFusion"
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "system"}))
    assert "holds a system" in str(refusal(folder))


def test_only_safetensors_are_read(folder):
    torch.save(load_file(folder / "vae" / WEIGHTS), folder / "vae" / "diffusion_pytorch_model.bin")
    (folder / "vae" / WEIGHTS).unlink()
    assert "There is no usable" in str(refusal(folder))


def test_an_absent_component_is_named_with_its_folder(tmp_path):
    assert str(refusal(tmp_path / "nowhere")) == (
        f"There is no VQModel or PixelUnshuffleVQModel in {tmp_path / 'nowhere'}; "
        "train the stage before, or give its folder."
    )
