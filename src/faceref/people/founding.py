"""Faces of an album grouped into people, in memory that does not grow with the square of their number.

So many of them as may be compared with each other, the best first, found people by average linkage
(`faceref.people.grouping`). Each of the others joins the group that is nearest in the mean, if it is near enough; those
that join none are grouped in their turn. Up to AT_ONCE faces this is average linkage, no more.
"""

from collections import defaultdict
from itertools import combinations

import numpy as np

from faceref.people.graph import close_pairs
from faceref.people.grouping import average_linkage
from faceref.people.measure import Measure

AT_ONCE = 4000  # faces: at the most 8 million pairs, 100 MB
ROWS = 500  # of them that are compared with the founders at once


def group(
    vectors: np.ndarray, scores: np.ndarray, photographs: np.ndarray, threshold: float, at_once: int = AT_ONCE
) -> np.ndarray:
    """Labels int [N] of faces: embeddings [N, D], qualities [N], photographs int [N]; two faces of one are two people.

    threshold: Euclidean distance, in the mean of all pairs of two groups, below which they are one person.
    """
    labels = np.full(len(vectors), -1)
    given = 0
    waiting = np.argsort(-scores, kind="stable")
    while waiting.size:
        founders, waiting = waiting[:at_once], waiting[at_once:]
        found = _linked(vectors[founders], photographs[founders], threshold)
        labels[founders] = given + found
        if waiting.size:
            nearest = _nearest(vectors[waiting], vectors[founders], found, threshold)
            taken = set(zip(photographs[founders].tolist(), found.tolist(), strict=True))
            for face, label in zip(waiting.tolist(), nearest.tolist(), strict=True):
                if label >= 0 and (photographs[face], label) not in taken:
                    taken.add((photographs[face], label))
                    labels[face] = given + label
            waiting = waiting[labels[waiting] < 0]
        given += found.max() + 1
    return labels


def _linked(vectors: np.ndarray, photographs: np.ndarray, threshold: float) -> np.ndarray:
    """Labels int [N] by average linkage; two faces of one photograph are never one person."""
    together: dict[int, list[int]] = defaultdict(list)
    for i, photograph in enumerate(photographs.tolist()):
        together[photograph].append(i)
    different = [pair for indices in together.values() for pair in combinations(indices, 2)]
    pairs = close_pairs(vectors, Measure.EUCLIDEAN.radius(threshold))
    return average_linkage(vectors, pairs, Measure.EUCLIDEAN, threshold, different)


def _nearest(vectors: np.ndarray, founders: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """For each of `vectors` the label whose founders are nearest in the mean, int [N]; -1 if none is near enough."""
    order = np.argsort(labels, kind="stable")
    sorted_founders, starts = founders[order], np.flatnonzero(np.diff(labels[order], prepend=-1))
    sizes = np.bincount(labels)
    lengths = (sorted_founders**2).sum(1)
    nearest = np.empty(len(vectors), int)
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS]
        squared = (block**2).sum(1, keepdims=True) + lengths - 2 * block @ sorted_founders.T  # [rows, founders]
        means = np.add.reduceat(np.sqrt(np.maximum(squared, 0)), starts, axis=1) / sizes  # [rows, groups]
        best = means.argmin(axis=1)
        nearest[start : start + ROWS] = np.where(means[np.arange(len(block)), best] < threshold, best, -1)
    return nearest
