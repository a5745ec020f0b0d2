"""The grain of a photograph: how strong and how coarse it is, and a restored face given as much of it again."""

import copy
import functools
import itertools
from collections.abc import Iterable
from typing import Self

import cv2
import numpy as np

from faceref.faces.noise import bands

OCTAVES = (0.0, 0.6, 1.2, 2.4, 4.8)  # blurs, in pixels of the photograph, between which grain is measured
FLAT = 0.2  # quantile of the local spread: the flat parts, where it is of grain and not of edges
WINDOW = 9  # pixels, of the local spread
APART = 3  # pixels between windows, which overlap: of all of them the quantile differs by a third of its own error
# The level of noise in each octave, of its deviation there: by 700 x 700 pixels in ten mixtures of octaves, within 5 %
SPREAD = np.array([0.92, 0.915, 0.83, 0.71])
ROUNDS = 4  # of bringing the octaves, which overlap, to their levels; more do not change them
STEEPEST = 1.7  # times as strong as the next finer octave is the coarsest grain: enlarged by two
ROUNDING = 0.25  # the level of the finest octave that 8 bits make of a smooth picture
LARGEST_CHANGE = 2.0  # of an octave in a round
BESIDE = 24  # pixels to each side that reach into what is blurred
FEWEST = 2 * WINDOW**2  # pixels; of fewer no level is known


def grain_levels(pixels: np.ndarray, *where: np.ndarray) -> np.ndarray:
    """How strong the grain of pixels [h, w, C] is in each of some places, bool [h, w]: [places, octaves, C].

    It is the spread in the flatter parts, so that hair or cloth do not count; compare it between two places, not with
    a standard deviation. NaN if too few pixels of a place count.
    """
    levels = np.full((len(where), len(OCTAVES) - 1, pixels.shape[-1]), np.nan)
    enough = [place for place, counted in enumerate(where) if counted.sum() >= FEWEST]
    for octave, band in enumerate(bands(pixels, OCTAVES) if enough else ()):
        levels[enough, octave] = _levels(band, *(where[place] for place in enough))
    return levels


def plausible(levels: np.ndarray, coarsest: float = np.inf) -> np.ndarray:
    """Levels [octaves, C] without what rounding to whole levels makes, and no octave much above the finer one.

    Where it is above, as in a soft picture, it shows shapes and no grain. Unknown levels (NaN) become 0, and so do
    octaves wider than `coarsest` pixels, but for the finest.
    """
    levels = np.sqrt(np.maximum(np.nan_to_num(levels) ** 2 - ROUNDING**2, 0))
    for finer, coarser in itertools.pairwise(range(len(levels))):
        levels[coarser] = np.minimum(levels[coarser], STEEPEST * levels[finer])
    levels[1:][np.array(OCTAVES[2:]) > coarsest] = 0
    return levels


class Grain:
    """Grain of a picture's size that has these levels, computed in rows."""

    def __init__(self, levels: np.ndarray, height: int, width: int, rng: np.random.Generator) -> None:
        """levels [octaves, C]: as `grain_levels` measures them."""
        self._noise = rng.standard_normal((height, width, levels.shape[-1]), dtype=np.float32)
        whole, by_octave = _powers()
        amount = levels / (SPREAD * np.sqrt(np.einsum("iii->i", by_octave)))[:, None]
        for _ in range(ROUNDS):
            reached = SPREAD[:, None] * np.sqrt(np.einsum("ic,oik,kc->oc", amount, by_octave, amount))
            amount = amount * np.clip(levels / np.maximum(reached, 1e-6), 1 / LARGEST_CHANGE, LARGEST_CHANGE)
        self._amount = amount
        self.deviation = np.sqrt(np.einsum("ic,ik,kc->c", amount, whole, amount))  # [C]

    def times(self, share: float) -> Self:
        """The same grain, so much as strong."""
        other = copy.copy(self)
        other._amount, other.deviation = share * self._amount, share * self.deviation
        return other

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows `top` to `bottom` of it, [bottom - top, width, C]."""
        first = max(top - BESIDE, 0)
        grain = _sum(bands(self._noise[first : bottom + BESIDE], OCTAVES), self._amount)
        return grain[top - first : bottom - first]


@functools.cache
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """P [octaves, octaves]: the sum of white noise's octaves, by amounts a, has the variance a^T P a.

    And one for each octave of that sum, [octaves, octaves, octaves]: its neighbours reach into it.
    """
    point = np.zeros((4 * BESIDE + 1,) * 2, dtype=np.float32)
    point[2 * BESIDE, 2 * BESIDE] = 1
    alone = np.stack(list(bands(point, OCTAVES)))
    seen = np.stack([list(bands(octave, OCTAVES)) for octave in alone])
    return np.einsum("iyx,kyx->ik", alone, alone), np.einsum("ioyx,koyx->oik", seen, seen)


def _levels(band: np.ndarray, *where: np.ndarray) -> np.ndarray:
    """How strong the grain of one octave [h, w, C] is in each of some places: [places, C]."""
    power = cv2.blur(band * band, (WINDOW, WINDOW))[::APART, ::APART]  # the sum in a window may end a little below 0
    flat = [np.quantile(power[counted[::APART, ::APART]], FLAT, axis=0) for counted in where]
    return np.sqrt(np.stack(flat).clip(0))


def _sum(octaves: Iterable[np.ndarray], amount: np.ndarray) -> np.ndarray:
    """Octaves [h, w, C], each and each channel by its amount [octaves, C], in one: [h, w, C]."""
    weighed = (octave * each for octave, each in zip(octaves, amount.astype(np.float32), strict=True))
    return functools.reduce(np.add, weighed)
