"""The network that cleans whole photographs: nothing at first; then in tiles as whole, and better than they came."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceref.data.degradation import Degradation, degrade
from faceref.errors import CheckpointError
from faceref.models import cleaner as module
from faceref.models.cleaner import PictureCleaner, load_cleaner
from faceref.models.upscaler import Upscaler
from faceref.pictures.tiles import enlarge_in_tiles

NOISY = Degradation(0, 0, 0, 1, noise=25, quality=100, kernel_size=1)
COMPRESSED = Degradation(0, 0, 0, 1, noise=0, quality=20, kernel_size=1)


@pytest.fixture(scope="module")
def cleaner() -> Upscaler:
    return load_cleaner("cpu")


@pytest.fixture(scope="module")
def coffee() -> Image.Image:
    """No face: a cup on a table, 600x400."""
    return Image.fromarray(pictures.coffee())


def cleaned(image: Image.Image, cleaner: Upscaler, tile: int = 4096) -> Image.Image:
    return enlarge_in_tiles(image, cleaner.enlarge, 1, 1, tile=tile, overlap=cleaner.overlap, multiple=cleaner.multiple)


def psnr(image: Image.Image, truth: Image.Image) -> float:
    both = (torch.from_numpy(np.array(one)).float() for one in (image, truth))
    return float(peak_signal_noise_ratio(*both, data_range=255.0))


def test_a_new_one_changes_nothing_and_takes_sides_that_are_multiples():
    network = PictureCleaner(channels=(8, 8, 8), blocks=1)
    picture = torch.randn(2, 3, 16, 3 * network.multiple)
    assert torch.equal(network(picture), picture)


def test_pictures_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    network = PictureCleaner(channels=(8, 8), blocks=1)
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    batch = torch.randn(2, 3, 16, 16)
    alone = torch.cat([network(one[None]) for one in batch])
    torch.testing.assert_close(network(batch), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("degradation", "gain"), [(NOISY, 5.0), (COMPRESSED, 0.3)], ids=["noise", "JPEG"])
def test_what_ships_takes_noise_and_compression_from_what_is_no_face(cleaner, coffee, degradation, gain):
    bad = degrade(coffee, degradation, np.random.default_rng(0))
    assert psnr(cleaned(bad, cleaner), coffee) > psnr(bad, coffee) + gain


def test_a_good_photograph_hardly_changes(cleaner, coffee):
    assert psnr(cleaned(coffee, cleaner), coffee) > 36


@pytest.mark.parametrize("degradation", [NOISY, COMPRESSED], ids=["noise", "JPEG"])
def test_tiles_of_odd_pictures_are_as_good_as_the_whole(cleaner, coffee, degradation):
    """Also off the middle, where tiles would begin within JPEG's blocks, of which the network knows the grid."""
    truth = coffee.crop((0, 0, 301, 203))
    odd = degrade(truth, degradation, np.random.default_rng(0))
    whole, tiled = (cleaned(odd, cleaner, tile) for tile in (4096, 112))
    assert whole.size == truth.size
    assert psnr(tiled, truth) == pytest.approx(psnr(whole, truth), abs=0.05)
    assert np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled)).mean() < 1


def test_damaged_weights_are_one_sentence(tmp_path: Path, monkeypatch):
    shutil.copytree(module.CLEANER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"none")
    monkeypatch.setattr(module, "CLEANER", tmp_path)
    with pytest.raises(CheckpointError, match="install faceref again"):
        load_cleaner("cpu")
