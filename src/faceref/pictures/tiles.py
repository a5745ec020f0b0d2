"""Enlarging a picture in tiles that overlap, so that memory depends on the tile and not on the picture."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom


def enlarge_in_tiles(
    image: Image.Image,
    enlarge: Callable[[np.ndarray], np.ndarray],
    factor: int,
    scale: int,
    *,
    tile: int,
    overlap: int,
    multiple: int = 1,
    on_tile: Callable[[int, int], None] = lambda *_: None,
) -> Image.Image:
    """An RGB picture `scale` times larger, by a function that makes what it is given `factor` times larger.

    enlarge: RGB float32 [h, w, 3] in [0, 1] -> [factor * h, factor * w, 3]. factor: a multiple of scale; what is too
    large is averaged. tile: the largest side, in pixels of `image`; each is shown with `overlap` pixels around it. What
    no pixel further away than that decides is the same as if the picture were enlarged whole. multiple: tiles begin at
    multiples of so many pixels, as JPEG's blocks do; the overlap is one, too. on_tile: called with (tiles done, tiles
    in all).
    """
    enlarged = Image.new("RGB", (scale * image.width, scale * image.height))
    shown = [(box, _grown(box, overlap, image.size)) for box in _tiles(image.size, tile, multiple)]
    shown.sort(key=lambda one: _area(one[1]), reverse=True)  # each then fits into the memory that the first has left
    on_tile(0, len(shown))
    for number, (box, around) in enumerate(shown, 1):
        made = enlarge(np.asarray(image.crop(around), dtype=np.float32) / 255)
        left, top, right, bottom = (factor * (edge - around[i % 2]) for i, edge in enumerate(box))
        averaged = _averaged(made[top:bottom, left:right], factor // scale)
        pixels = np.rint(averaged * 255).clip(0, 255).astype(np.uint8)
        enlarged.paste(Image.fromarray(pixels), (scale * box[0], scale * box[1]))
        on_tile(number, len(shown))
    return enlarged


def _tiles(size: tuple[int, int], tile: int, multiple: int) -> list[Box]:
    """Boxes that cover a picture, row by row, nearly alike: none is a thin rest."""
    columns, rows = (_edges(side, -(-side // tile), multiple) for side in size)
    return [(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _edges(side: int, tiles: int, multiple: int) -> list[int]:
    even = np.linspace(0, side, tiles + 1)[:-1]
    return [*((even / multiple).round() * multiple).astype(int).tolist(), side]


def _grown(box: Box, by: int, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(left - by, 0), max(top - by, 0), min(right + by, size[0]), min(bottom + by, size[1])


def _area(box: Box) -> int:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _averaged(pixels: np.ndarray, by: int) -> np.ndarray:
    """Pixels [by * h, by * w, 3] as [h, w, 3], each the mean of a square."""
    height, width, channels = pixels.shape
    return pixels.reshape(height // by, by, width // by, by, channels).mean((1, 3))
