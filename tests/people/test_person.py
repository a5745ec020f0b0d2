"""A person by their references: those of one name are told apart."""

import tracemalloc
from dataclasses import replace

import numpy as np
from PIL import Image

from faceref.people.library import check_name
from faceref.people.measure import most_typical
from faceref.people.person import FACE_SIZE, Person, Reference, distinct, same_name

FACE = Image.new("RGB", (FACE_SIZE, FACE_SIZE))


NOBODY = np.empty((0, 128), np.float32)  # faces of the photograph


def reference(digest: str, away: float = 0.0) -> Reference:
    """One that is called "1.jpg"; away: how far it is from the others that are not."""
    embedding = np.zeros(128, np.float32)
    embedding[0] = away
    return Reference("1.jpg", FACE, embedding, digest)


def digests(person: Person | None) -> list[str]:
    assert person is not None
    return [one.digest for one in person.references]


def test_of_two_references_with_one_name_only_the_photograph_itself_is_left_out():
    person = Person((reference("a"), reference("b"), replace(reference("c"), name="2.jpg")))
    left = person.without_photograph("a", NOBODY)
    assert left is not None
    assert digests(left) == ["b", "c"]
    assert [(one.name, one.reason) for one in left.skipped] == [("1.jpg", "it is the photograph to be restored")]
    assert Person((reference("a"),)).without_photograph("a", NOBODY) is None


def test_of_two_references_with_one_name_only_the_stranger_is_left_out():
    person = Person((reference("a"), reference("b", away=2), reference("c")))
    left = person.without_outliers()
    assert digests(left) == ["a", "c"]
    assert len(left.skipped) == 1
    assert "seems to show somebody else than 1.jpg (distance 2.00" in left.skipped[0].reason


def test_of_several_peoples_photographs_those_of_the_most_typical_are_used():
    of_three = [reference(f"{person}{i}", away=2 * person + i / 100) for person in range(3) for i in range(4)]
    person = Person(tuple(of_three))
    left = person.without_outliers()
    assert len(digests(left)) == 4
    assert len({digest[0] for digest in digests(left)}) == 1
    assert left.warnings == ()
    (warning,) = person.warnings
    assert warning.startswith("1.jpg, 1.jpg,")
    assert "1.jpg and 1.jpg seem to show somebody else than 1.jpg (distance 1.9" in warning


def test_where_nobody_can_say_who_is_meant_all_references_stay():
    halves = [reference(f"{person}{i}", away=2 * person + i / 100) for person in range(2) for i in range(2)]
    alone = [reference(str(i), away=2 * i) for i in range(4)]
    for references in (halves, alone):
        assert len(Person(tuple(references)).without_outliers().references) == len(references)


def test_the_most_typical_of_some_by_hand():
    typical, distances = most_typical(np.array([[0.0], [1.0], [2.0], [9.0], [1.5]], np.float32))
    assert typical == 4  # the medians are 1.5, 1, 1, 7.5 and 0.5
    assert distances.tolist() == [1.5, 0.5, 0.5, 7.5, 0]


def test_outliers_among_thousands_are_found_in_little_memory():
    close = np.random.default_rng(0).normal(0, 0.01, (2000, 128)).astype(np.float32)
    close[7, 0] += 2
    shown = reference("a")
    person = Person(tuple(replace(shown, digest=str(i), embedding=row) for i, row in enumerate(close)))
    tracemalloc.start()
    left = person.without_outliers()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(left.references), "7" in digests(left)) == (1999, False)
    assert most < 15e6  # bytes; a matrix of float32 has 16 MB, that of all differences 2 GB


def test_who_is_named_twice_is_one_person_as_first_spelled():
    assert distinct(["Ada", "Grace", "ADA", "grace"]) == ["Ada", "Grace"]
    assert distinct([]) == []


def test_names_are_compared_as_they_are_read():
    composed, apart = "Jos\u00e9", "Jose\u0301"
    assert same_name(composed, apart)
    assert same_name("Aunt  May", "aunt May")
    assert not same_name("Jose", composed)
    assert distinct([composed, apart]) == [composed]
    assert check_name(apart) == composed
