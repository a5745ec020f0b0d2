"""Panoramas in pieces, for detectors that bring each picture to one size: in a whole one they would see no faces."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from faceref.faces.boxes import suppress
from faceref.pictures.cut import cut_out

# A strip's long side counts as at most so many times the short one, as in a phone's panoramas: in a longer one faces
# are no larger
MOST_LONG = 4
SAME_FACE = 0.6  # share of the smaller box
Found = tuple[np.ndarray, float]  # points [P, 2], the first two the corners of a face's box, and how probable it is


def found_in_pieces(image: Image.Image, look: Callable[[Image.Image], Sequence[Found]]) -> list[Found]:
    """What `look` finds in an RGB picture; in one more than MOST_LONG times as long as high, in pieces of that shape.

    They overlap by the short side, so that each face is whole in one of them; of what is found twice the more probable
    stays.
    """
    parts = _pieces(image.size)
    if len(parts) == 1:
        return list(look(image))
    found = [(points + part[:2], score) for part in parts for points, score in look(cut_out(image, part))]
    boxes = np.array([points[:2].ravel() for points, _ in found]).reshape(-1, 4)
    stays = suppress(boxes, np.array([score for _, score in found]), of_smaller=SAME_FACE)
    return [found[i] for i in stays]


def _pieces(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of the pieces of a picture of `size` (width, height)."""
    short, long = min(size), max(size)
    length = min(long, MOST_LONG * short)
    count = 1 + -(-(long - length) // (length - short)) if long > length else 1
    starts = np.linspace(0, long - length, count).round().astype(int).tolist()
    if size[0] == long:
        return [(start, 0, start + length, short) for start in starts]
    return [(0, start, short, start + length) for start in starts]
