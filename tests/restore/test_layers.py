"""Layers shown at another strength; the server's tests compare them with restoring anew."""

import pytest

from faceref.errors import UsageError
from faceref.restore.layers import Layers
from faceref.restore.options import RestoreOptions


@pytest.mark.parametrize("wrong", [1.5, -0.1, {1: 2.0}, "1:1.5"])
def test_what_is_no_strength_is_refused(wrong):
    with pytest.raises(UsageError, match="strength"):
        Layers(faces=[], colour="keep", metadata={}).at(wrong)


def test_faces_that_are_not_named_stay_as_they_are_shown(restorer, portrait):
    result = restorer.restore(portrait, options=RestoreOptions(always=True, unknown="blind"))
    layers = Layers.of(result, "keep")
    assert layers.at({}) == layers
    assert len(layers.at({1: 0.5}).faces) == 1
    assert layers.at(0.0).faces == []


def test_a_face_that_was_not_restored_is_named():
    with pytest.raises(UsageError, match="Face 2 was not restored"):
        Layers(faces=[], colour="keep", metadata={}).at({2: 0.5})
