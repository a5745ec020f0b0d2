"""Faces of an album grouped into people: as average linkage does, and the same people if there are too many at once."""

import tracemalloc

import numpy as np

from faceref.people.founding import AT_ONCE, group
from faceref.people.graph import close_pairs
from faceref.people.grouping import average_linkage
from faceref.people.measure import Measure


def invented(people: int, photographs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [people * photographs, 128], 0.35 apart of one person and 0.8 of two, and who they are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 0.05, (people, 128))
    whose = np.repeat(np.arange(people), photographs)
    return (centres[whose] + rng.normal(0, 0.022, (len(whose), 128))).astype(np.float32), whose


def same_groups(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


def test_few_faces_are_grouped_by_average_linkage():
    vectors, _ = invented(people=5, photographs=6)
    alone = np.arange(len(vectors))
    labels = group(vectors, np.ones(len(vectors)), alone, 0.48)
    pairs = close_pairs(vectors, 0.48**2)
    assert same_groups(labels, average_linkage(vectors, pairs, Measure.EUCLIDEAN, 0.48))


def test_who_waits_joins_the_people_that_others_founded_or_founds_some():
    vectors, whose = invented(people=12, photographs=5)
    scores = np.random.default_rng(1).random(len(vectors))
    labels = group(vectors, scores, np.arange(len(vectors)), 0.48, at_once=20)
    assert same_groups(labels, whose)


def test_two_faces_of_one_photograph_are_two_people_also_if_they_wait():
    vectors, _ = invented(people=1, photographs=6)
    scores, photographs = np.linspace(1, 0, 6), np.array([0, 1, 2, 3, 3, 4])
    labels = group(vectors, scores, photographs, 0.48, at_once=2)
    assert labels[3] != labels[4]
    assert len(set(labels[[0, 1, 2, 3, 5]].tolist())) == 1


def test_twenty_thousand_photographs_of_one_person_or_of_many_need_little_memory():
    one_person, _ = invented(people=1, photographs=5 * AT_ONCE)
    many, whose = invented(people=2000, photographs=5)
    for vectors, expected in ((one_person, np.zeros(len(one_person), int)), (many, whose)):
        scores = np.random.default_rng(0).random(len(vectors))
        tracemalloc.start()
        labels = group(vectors, scores, np.arange(len(vectors)), 0.48)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert same_groups(labels, expected)
        assert most < 600e6  # bytes; a matrix of all distances has 1.6 GB
