"""Which faces of a photograph nobody photographed: those in its background, and those that its border cuts off.

A restoration draws false eyes and half faces into them, and nobody looks at them; the numbers are chosen in
docs/evaluation.md ("Who is in the background").
"""

from collections.abc import Sequence

from faceref.restore.faces import FoundFace
from faceref.restore.left_alone import LeftAlone

# Sides of aligned squares, as shares of another face's.
MUCH_SMALLER = 0.5  # a face that is behind, however sharp
SMALLER = 0.7  # half the area: one that is behind if it is also out of focus
BLURRED, SHARP = 0.45, 0.60  # scores, all judged at JUDGED_AT: one is out of focus where the other is not
# Of its aligned square, how much of a face must lie in the photograph: the face itself is its middle 60 %, so that a
# fifth beyond the border takes nothing but hair and ear.
WHOLE = 0.8


def bystander(face: FoundFace, faces: Sequence[FoundFace]) -> LeftAlone | None:
    """Why this one of a photograph's faces is a bystander's, None if it is not: the largest is never behind.

    >>> [bystander(face, faces) for face in faces]
    """
    others = [other for other in faces if other is not face]
    if any(_is_behind(face, other) for other in others):
        return LeftAlone.BACKGROUND
    if not _is_whole(face) and any(_is_whole(other) and _side(face) <= _side(other) / SMALLER for other in others):
        return LeftAlone.CUT_OFF
    return None


def _is_behind(face: FoundFace, main: FoundFace) -> bool:
    """Whether it is much smaller than another one, or smaller and blurred where the other needs nothing."""
    out_of_focus = face.coarse.score < BLURRED and main.coarse.score >= SHARP
    return _side(face) < (SMALLER if out_of_focus else MUCH_SMALLER) * _side(main)


def _is_whole(face: FoundFace) -> bool:
    return float((face.crop.mask > 0).mean()) >= WHOLE


def _side(face: FoundFace) -> float:
    return face.crop.alignment.side
