"""Boxes [N, 4] (left, top, right, bottom): which of them show the same, squares around them, turned with a picture."""

import numpy as np

Box = tuple[float, float, float, float]  # of one; pixels, or shares of a side


def suppress(
    boxes: np.ndarray, scores: np.ndarray, *, of_union: float = np.inf, of_smaller: float = np.inf
) -> np.ndarray:
    """Rows int [M] of the boxes that stay, best score first: greedy non-maximum suppression.

    A box goes where a better one shares with it more than `of_union` of the area of both, or more than `of_smaller`
    of the area of the smaller.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    waiting = np.argsort(-scores, kind="stable")
    kept = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[waiting, :2]), np.minimum(boxes[best, 2:], boxes[waiting, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        union, smaller = areas[best] + areas[waiting] - shared, np.minimum(areas[best], areas[waiting])
        waiting = waiting[(shared <= of_union * union) & (shared <= of_smaller * smaller)]
    return np.array(kept, dtype=int)


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
