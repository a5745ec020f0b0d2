"""How far apart two faces are: embeddings are compared as the recogniser that made them was trained for."""

from enum import Enum

import numpy as np
from scipy.spatial.distance import cdist

SAMPLE = 500  # faces that stand for more: no matrix of all distances is made


class Measure(Enum):
    """Euclidean distance, as dlib's embeddings are compared, or 1 - cosine, as unit vectors like ArcFace's are.

    Searching and clustering work on squared Euclidean distances; these methods translate.
    """

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"

    def radius(self, distance: float) -> float:
        """The squared Euclidean distance of two embeddings that are `distance` apart."""
        return distance**2 if self is Measure.EUCLIDEAN else 2 * distance

    def distances(self, squared: np.ndarray) -> np.ndarray:
        """The inverse of `radius`, for arrays of any shape."""
        squared = np.maximum(squared, 0)  # rounding
        return np.sqrt(squared) if self is Measure.EUCLIDEAN else squared / 2

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances [...] of embeddings [..., D]."""
        return self.distances(((a - b) ** 2).sum(-1))


def most_typical(embeddings: np.ndarray) -> tuple[int, np.ndarray]:
    """Which of embeddings [N, D] has the least median distance to all, and how far each is from it, float64 [N].

    Euclidean. Of more than SAMPLE a sample, evenly spaced, is looked at.
    """
    step = -(-len(embeddings) // SAMPLE)
    sample = embeddings[::step]
    typical = step * int(np.median(cdist(sample, sample), axis=1).argmin())
    return typical, cdist(embeddings[typical : typical + 1], embeddings)[0]
