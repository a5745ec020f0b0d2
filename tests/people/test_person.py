"""A person by their references: those of one name are told apart."""

from dataclasses import replace

import numpy as np
from PIL import Image

from faceref.people.person import FACE_SIZE, Person, Reference

FACE = Image.new("RGB", (FACE_SIZE, FACE_SIZE))


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
    left = person.without_photograph("a")
    assert left is not None
    assert digests(left) == ["b", "c"]
    assert [(one.name, one.reason) for one in left.skipped] == [("1.jpg", "it is the photograph to be restored")]
    assert Person((reference("a"),)).without_photograph("a") is None


def test_of_two_references_with_one_name_only_the_stranger_is_left_out():
    person = Person((reference("a"), reference("b", away=2), reference("c")))
    left = person.without_outliers()
    assert digests(left) == ["a", "c"]
    assert len(left.skipped) == 1
    assert "seems to show somebody else than 1.jpg (distance 2.00" in left.skipped[0].reason
