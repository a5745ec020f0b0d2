"""A picture enlarged in tiles is the same as one enlarged whole, and no more of it is looked at than a tile."""

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.pictures.tiles import enlarge_in_tiles


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 101, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """Enlarges four times; a pixel of the result depends on those up to four pixels away."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 48, 5, padding=2)]
    return torch.nn.Sequential(*layers, torch.nn.PixelShuffle(4), torch.nn.Sigmoid()).requires_grad_(False)


def shown_to(network: torch.nn.Module, shapes: list[tuple[int, ...]]):
    def enlarge(pixels: np.ndarray) -> np.ndarray:
        shapes.append(pixels.shape)
        return network(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])[0].numpy().transpose(1, 2, 0)

    return enlarge


@pytest.mark.parametrize("scale", [2, 4])
def test_tiles_leave_no_seam(photo, network, scale):
    whole = enlarge_in_tiles(photo, shown_to(network, []), 4, scale, tile=200, overlap=0)
    tiled = enlarge_in_tiles(photo, shown_to(network, []), 4, scale, tile=16, overlap=4)
    assert tiled.size == (scale * photo.width, scale * photo.height)
    difference = np.abs(np.asarray(tiled, dtype=int) - np.asarray(whole, dtype=int))
    assert difference.max() <= 1  # a convolution adds up in another order where its input has another size
    assert np.asarray(whole).std() > 2


def test_without_overlap_they_would(photo, network):
    whole = enlarge_in_tiles(photo, shown_to(network, []), 4, 4, tile=200, overlap=0)
    tiled = enlarge_in_tiles(photo, shown_to(network, []), 4, 4, tile=16, overlap=0)
    assert np.abs(np.asarray(tiled, dtype=int) - np.asarray(whole, dtype=int)).max() > 5


def test_no_more_is_shown_at_once_than_a_tile_with_its_overlap(photo, network):
    shapes: list[tuple[int, ...]] = []
    seen: list[tuple[int, int]] = []
    enlarge = shown_to(network, shapes)
    enlarge_in_tiles(photo, enlarge, 4, 4, tile=16, overlap=4, on_tile=lambda done, total: seen.append((done, total)))
    assert max(max(shape) for shape in shapes) <= 16 + 2 * 4
    assert seen == [(done, 35) for done in range(36)]  # 7 x 5


def test_what_is_too_large_is_averaged(photo):
    def repeated(pixels: np.ndarray) -> np.ndarray:
        return pixels.repeat(4, 0).repeat(4, 1)

    enlarged = enlarge_in_tiles(photo, repeated, 4, 2, tile=30, overlap=3)
    assert (np.asarray(enlarged) == np.asarray(photo).repeat(2, 0).repeat(2, 1)).all()
