"""Layers shown at another strength; the server's tests compare them with restoring anew."""

import pytest

from faceref.errors import UsageError
from faceref.restore.layers import Layers


@pytest.mark.parametrize("wrong", [1.5, -0.1, {1: 2.0}, "1:1.5"])
def test_what_is_no_strength_is_refused(wrong):
    with pytest.raises(UsageError, match="strength"):
        Layers(faces=[], colour="keep", metadata={}).at(wrong)


def test_a_face_that_was_not_restored_is_named():
    with pytest.raises(UsageError, match="Face 2 was not restored"):
        Layers(faces=[], colour="keep", metadata={}).at({2: 0.5})
