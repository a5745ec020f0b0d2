"""Groups of faces that are people: close on the average, where a component may be a mere chain of close pairs.

Average linkage (UPGMA, Sokal & Michener 1958) joins two groups while the mean distance of all pairs between them is
below the threshold. Such groups always lie within a component of the graph of close pairs, so that it is enough to
cluster inside each component: exact, and never an N x N matrix.
"""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from faceref.people.graph import Pairs, components
from faceref.people.measure import Measure

LARGEST = 4000  # faces of one component that are clustered at once: 64 MB of distances
TIGHTEN = 0.9  # of the squared radius: what larger components are first taken apart by


def average_linkage(
    vectors: np.ndarray,
    pairs: Pairs,
    measure: Measure,
    threshold: float,
    different: Sequence[tuple[int, int]] = (),
    largest: int = LARGEST,
) -> np.ndarray:
    """Labels int [N] of faces [N, D]: groups whose mean distance, in the measure, is below `threshold`.

    pairs: all that are closer than the threshold; different: faces that are never put into one group. A component
    where everybody is close to everybody (copies of one photograph, too) is a group without looking further; one of
    more than `largest` faces that is not is first taken apart at smaller distances, which can only separate more.
    """
    count = len(vectors)
    parted = np.array(different, dtype=int).reshape(-1, 2)
    labels = np.empty(count, int)
    given = 0
    waiting = _split(np.arange(count), pairs)
    while waiting:
        faces, inside = waiting.pop()
        complete = len(inside) == len(faces) * (len(faces) - 1) // 2 and not np.isin(parted, faces).all(1).any()
        if not complete and len(faces) > largest:
            waiting += _split(faces, inside.within(TIGHTEN * float(inside.squared.max())))
            continue
        groups = np.ones(len(faces), int)
        if not complete:
            distances = measure.distances(pdist(vectors[faces].astype(np.float64), "sqeuclidean"))
            _forbid(distances, faces, different)
            groups = fcluster(linkage(distances, "average"), threshold, "distance")
        labels[faces] = given + groups
        given += groups.max()
    return np.unique(labels, return_inverse=True)[1]


def _split(faces: np.ndarray, pairs: Pairs) -> list[tuple[np.ndarray, Pairs]]:
    """The connected components of `faces` int [n], ascending, each with its pairs."""
    parts = components(len(faces), *np.searchsorted(faces, np.stack([pairs.first, pairs.second])))
    of_pair = parts[np.searchsorted(faces, pairs.first)]
    by_face, by_pair = np.argsort(parts, kind="stable"), np.argsort(of_pair, kind="stable")
    face_ends = np.cumsum(np.bincount(parts))[:-1]
    pair_ends = np.cumsum(np.bincount(of_pair, minlength=len(face_ends) + 1))[:-1]
    return [
        (faces[members], pairs.where(edges))
        for members, edges in zip(np.split(by_face, face_ends), np.split(by_pair, pair_ends), strict=True)
    ]


def _forbid(distances: np.ndarray, faces: np.ndarray, different: Sequence[tuple[int, int]]) -> None:
    """Put different people so far apart in the condensed matrix that no mean with them is below a threshold."""
    count = len(faces)
    place = {int(face): i for i, face in enumerate(faces)} if different else {}
    for a, b in different:
        if a in place and b in place:
            i, j = sorted((place[a], place[b]))
            distances[count * i - i * (i + 1) // 2 + j - i - 1] = 1e6 * count**2
