"""The levels of faded and of dark pictures, stretched for networks that know good ones only, and put back."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

LOOKED_AT = 256  # pixels a side: enough to know the levels by
ENDS = (0.5, 99.5)  # percentiles that are black and white: dust and glints are beyond them
FADED = 150  # levels between them, of 255: in their luminance 99 of 100 photographs have more
BLACK, WHITE = 5.0, 250.0  # of a good photograph


@dataclass(frozen=True)
class Levels:
    """What black and white have become in each channel of a picture: levels [3], in 0..255."""

    black: tuple[float, ...] = (BLACK,) * 3
    white: tuple[float, ...] = (WHITE,) * 3

    @classmethod
    def of(cls, image: Image.Image, mask: np.ndarray | None = None) -> Self:
        """Those of an RGB picture; full ones unless it is faded or dark. mask: uint8 [h, w], 0 where nothing counts."""
        small = image.resize((LOOKED_AT, LOOKED_AT), Image.Resampling.BOX, reducing_gap=2)
        pixels, luminance = np.asarray(small), np.asarray(small.convert("L"))
        if mask is not None:
            counts = np.asarray(Image.fromarray(mask).resize(small.size, Image.Resampling.NEAREST)) > 0
            pixels, luminance = pixels[counts], luminance[counts]
        if luminance.size == 0 or np.ptp(np.percentile(luminance, ENDS)) >= FADED:
            return cls()
        black, white = np.percentile(pixels.reshape(-1, 3), ENDS, axis=0)
        return cls(tuple(black.tolist()), tuple(np.maximum(white, black + 1).tolist()))

    def stretched(self, image: Image.Image) -> Image.Image:
        """An RGB picture of these levels with full ones."""
        return _mapped(image, self, FULL)

    def given_to(self, image: Image.Image) -> Image.Image:
        """An RGB picture of full levels with these: the way back, for what lies within them."""
        return _mapped(image, FULL, self)


FULL = Levels()


def in_full_levels(image: Image.Image) -> Image.Image:
    """An RGB picture as networks are shown it: itself, unless it is faded or dark."""
    return Levels.of(image).stretched(image)


def _mapped(image: Image.Image, before: Levels, after: Levels) -> Image.Image:
    """In each channel black becomes black and white white, and all else in proportion."""
    if before == after:
        return image
    black, white, black_after, white_after = (
        np.array(ends)[:, None] for ends in (before.black, before.white, after.black, after.white)
    )
    levels = black_after + (np.arange(256) - black) * (white_after - black_after) / (white - black)  # [3, 256]
    return image.point(np.rint(levels).clip(0, 255).astype(int).flatten().tolist())
