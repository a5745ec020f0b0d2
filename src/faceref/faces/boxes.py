"""Boxes [N, 4] (left, top, right, bottom): which of them show the same, squares around them, turned with a picture."""

from collections.abc import Iterator

import numpy as np

PAIRS = 500_000  # of boxes that are compared at once
Box = tuple[float, float, float, float]  # of one; pixels, or shares of a side


def suppress(
    boxes: np.ndarray, scores: np.ndarray, *, of_union: float = np.inf, of_smaller: float = np.inf
) -> np.ndarray:
    """Rows int [M] of the boxes that stay, best score first: greedy non-maximum suppression.

    A box goes where a better one shares with it more than `of_union` of the area of both, or more than `of_smaller`
    of the area of the smaller. Each is compared with those only that begin beside it, from left to right: a large
    photograph of gravel has tens of thousands.
    """
    best_first = np.argsort(-scores, kind="stable")
    boxes = boxes[best_first]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    better, worse = [np.empty(0, int)], [np.empty(0, int)]
    for a, b in _beside(boxes):
        low, high = np.maximum(boxes[a, :2], boxes[b, :2]), np.minimum(boxes[a, 2:], boxes[b, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        union, smaller = areas[a] + areas[b] - shared, np.minimum(areas[a], areas[b])
        alike = (shared > of_union * union) | (shared > of_smaller * smaller)
        better.append(np.minimum(a, b)[alike])
        worse.append(np.maximum(a, b)[alike])
    winners, losers = np.concatenate(better), np.concatenate(worse)
    order = np.argsort(winners, kind="stable")
    winners, starts = np.unique(winners[order], return_index=True)
    stays = np.ones(len(boxes), dtype=bool)
    for winner, beaten in zip(winners, np.split(losers[order], starts[1:]), strict=False):
        if stays[winner]:
            stays[beaten] = False
    return best_first[stays]


def _beside(boxes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows of boxes [N, 4] that share columns of pixels, some at a time: int [P], int [P]."""
    from_left = np.argsort(boxes[:, 0], kind="stable")
    ends = np.searchsorted(boxes[from_left, 0], boxes[from_left, 2])
    counts = np.maximum(ends - np.arange(len(boxes)) - 1, 0)  # of those that begin within each
    parts = np.flatnonzero(np.diff(np.cumsum(counts) // PAIRS, prepend=0))
    for some in np.split(np.arange(len(boxes)), parts):
        number = counts[some]
        first = np.repeat(some, number)
        behind = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + 1
        yield from_left[first], from_left[first + behind]


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """What two boxes share, of the area of both together and of the area of the smaller: 0 to 1 each."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (a, b)]
    return shared / (sum(areas) - shared), shared / min(areas)


def around_the_centre(boxes: np.ndarray) -> np.ndarray:
    """Squares [N, 4] with the centres and the longer sides of boxes [N, 4]."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def turned_back(points: np.ndarray, turns: int, size: tuple[int, int]) -> np.ndarray:
    """Points [..., 2] of np.rot90(picture, turns) in the picture of `size` (width, height) itself, edges at 0."""
    width, height = size
    x, y = points[..., 0], points[..., 1]
    return np.stack([(x, y), (width - y, x), (width - x, height - y), (y, height - x)][turns % 4], axis=-1)
