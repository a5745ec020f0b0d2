"""Which faces are close to which: all pairs within a radius, and what hangs together through them."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceref.errors import DataError

EXACT_UP_TO = 300_000  # faces; beyond, the search looks only at the nearest cells of a partition
QUERIES = 2048  # at a time
MOST_PAIRS = 50_000_000  # 0.6 GB


@dataclass(frozen=True, eq=False)
class Pairs:
    """Edges of a graph of faces: `first` < `second` int32 [P], and their squared distance float32 [P]."""

    first: np.ndarray
    second: np.ndarray
    squared: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def within(self, radius: float) -> "Pairs":
        """Those closer than `radius`, a squared distance."""
        return self.where(self.squared < radius)

    def where(self, chosen: np.ndarray) -> "Pairs":
        """Those that a mask [P] or an array of positions chooses."""
        return Pairs(self.first[chosen], self.second[chosen], self.squared[chosen])


def close_pairs(vectors: np.ndarray, radius: float, exact_up_to: int = EXACT_UP_TO) -> Pairs:
    """All pairs of vectors float32 [N, D] with a squared Euclidean distance below `radius`; no N x N matrix is made.

    Exact up to `exact_up_to` vectors (FAISS, range search in a flat index); beyond, in the 1/16 of the cells of an
    inverted file that is nearest to each vector, where faces of one person nearly always lie.

    Raises DataError for more than MOST_PAIRS pairs, which is a threshold that joins everybody.
    """
    import faiss

    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    count, size = vectors.shape
    if count <= exact_up_to:
        index = faiss.IndexFlatL2(size)
    else:
        cells = round(4 * count**0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, cells)
        index.nprobe = max(cells // 16, 1)
        index.train(vectors[:: max(count // (64 * cells), 1)])  # type: ignore[call-arg]
    index.add(vectors)  # type: ignore[call-arg]
    found: list[Pairs] = []
    total = 0
    for start in range(0, count, QUERIES):
        limits, squared, neighbours = index.range_search(vectors[start : start + QUERIES], radius)  # type: ignore
        queries = np.repeat(np.arange(start, start + len(limits) - 1), np.diff(limits.astype(np.int64)))
        chosen = queries < neighbours
        found.append(Pairs(queries[chosen].astype(np.int32), neighbours[chosen].astype(np.int32), squared[chosen]))
        total += len(found[-1])
        if total > MOST_PAIRS:
            raise DataError(
                f"More than {MOST_PAIRS:,} pairs of faces are closer than the threshold, so that it tells nobody "
                "from anybody",
                hint="give a lower threshold",
                code="threshold_joins_all",
            )
    return Pairs(*(np.concatenate([getattr(part, key) for part in found]) for key in ("first", "second", "squared")))


def components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Labels int32 [count]: the connected component of each of `count` nodes under the edges first[i] - second[i]."""
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
