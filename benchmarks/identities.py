"""Seconds and memory to find who is who among synthetic faces that lie as dlib's embeddings do.

The numbers of docs/data.md: OMP_NUM_THREADS=1 python benchmarks/identities.py
"""

import argparse
import resource
import time

import numpy as np

from faceref.data.agreement import pairwise_agreement
from faceref.data.embedding import Embeddings
from faceref.data.embedding_space import embedding_space
from faceref.data.identities import identify

WITHIN, BETWEEN, SIZE = 0.43, 0.8, 128  # mean distances of dlib's embeddings on LFW, and their length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--photographs", type=int, default=7, help="of each")
    arguments = parser.parse_args()
    vectors, people = synthetic_faces(arguments.people, arguments.photographs)
    faces = Embeddings([f"{i}.png" for i in range(len(vectors))], vectors, [])
    space = embedding_space(None)
    before, start = peak_memory(), time.process_time()
    found = identify(faces, space, space.threshold)
    seconds = time.process_time() - start
    agreement = pairwise_agreement(found.labels, people)
    print(f"{len(vectors)} faces of {arguments.people} people: {seconds:.1f} s of the processor")
    print(f"peak memory {peak_memory():.2f} GB, {before:.2f} GB before the search")
    print(f"{len(found.groups())} identities, precision {agreement.precision:.4f}, recall {agreement.recall:.4f}")


def synthetic_faces(people: int, photographs: int) -> tuple[np.ndarray, list[str]]:
    """Embeddings float32 [N, SIZE] and whose they are: normal about a centre, which is normal about the origin."""
    rng = np.random.default_rng(0)
    # the distance of two points of spread s in every coordinate is s * sqrt(2 * SIZE)
    spread, spread_of_centres = WITHIN / (2 * SIZE) ** 0.5, (BETWEEN**2 - WITHIN**2) ** 0.5 / (2 * SIZE) ** 0.5
    centres = rng.standard_normal((people, 1, SIZE), np.float32) * np.float32(spread_of_centres)
    faces = centres + rng.standard_normal((people, photographs, SIZE), np.float32) * np.float32(spread)
    return faces.reshape(-1, SIZE), [str(i) for i in range(people) for _ in range(photographs)]


def peak_memory() -> float:
    """GB of this process, the largest so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
