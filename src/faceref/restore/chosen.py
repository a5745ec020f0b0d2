"""Which faces of a photograph are meant: by number, by box, by size, by a person, or by what was said of each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faceref.errors import FaceNotThereError, LoneFaceError, OtherPersonError
from faceref.faces.boxes import Box, overlap
from faceref.faces.certainty import refusal_threshold
from faceref.people import matching
from faceref.people.person import Identity
from faceref.restore.faces import FoundFace
from faceref.restore.options import ByHand, FaceChoice

# The certainty that a lone face needs. `certainty` is as if strangers were as frequent as the person; who gives a
# portrait and references mostly means that face (at ten to one 0.3 is four to one), and bad faces are never certain.
LONE_FACE = 0.3
PLACES = 3  # of faces, that are told
DRAWN_AROUND = 0.5  # of the smaller of two boxes, the face's and one drawn around it by hand, lies in the other


def by_number(faces: Sequence[FoundFace], by_hand: Sequence[ByHand]) -> dict[int, ByHand]:
    """What was said of each face. Raises FaceNotThereError."""
    check_numbers(faces, [one.face for one in by_hand])
    return {one.face: one for one in by_hand}


def check_numbers(faces: Sequence[FoundFace], numbers: Iterable[int]) -> None:
    """Raises FaceNotThereError for the first of these that is not there."""
    for number in numbers:
        if number > len(faces):
            hint = f"choose {_numbers(faces)}"
            raise FaceNotThereError(f"has no face {number}", subject=faces[0].photo.name, hint=hint)


def chosen(
    faces: Sequence[FoundFace], only: Identity[Any] | None, choice: FaceChoice | None, by_hand: Mapping[int, ByHand]
) -> list[FoundFace]:
    """The faces that the options mean.

    Raises FaceNotThereError, or OtherPersonError if none may be the only person given.
    """
    match choice:
        case None if only is not None:
            return _most_like(only, faces, by_hand)
        case None | "all":
            return list(faces)
        case "largest":
            return [max(faces, key=lambda face: face.crop.alignment.side)]
        case int():
            return _there([face for face in faces if face.number == choice], f"no face {choice}", faces)
        case box:
            missing = f"no face in the box {_measured(box)} (x, y, width, height)"
            return _there(_in_box(faces, box), missing, faces, [_where(face) for face in faces])


def _there(
    found: list[FoundFace], missing: str, faces: Sequence[FoundFace], places: Sequence[str] = ()
) -> list[FoundFace]:
    """What was found. Raises FaceNotThereError if it is nothing, saying which there are, the first of them where."""
    if not found:
        hint = f"choose {_numbers(faces)}, largest or all" + (f" ({', '.join(places[:PLACES])})" if places else "")
        raise FaceNotThereError(f"has {missing}", subject=faces[0].photo.name, hint=hint)
    return found


def _where(face: FoundFace) -> str:
    return f"face {face.number} is in {_measured(map(round, face.place.box))}" if face.place else ""


def _measured(box: Iterable[float]) -> str:
    """A box as X,Y,WIDTH,HEIGHT."""
    left, top, right, bottom = box
    return ",".join(f"{one:g}" for one in (left, top, right - left, bottom - top))


def _in_box(faces: Sequence[FoundFace], box: Box) -> list[FoundFace]:
    """The face that a box was drawn around, if there is one; an aligned picture is the face."""
    overlaps = [(*overlap(face.place.box if face.place else box, box), face) for face in faces]
    near = [(of_union, face) for of_union, of_smaller, face in overlaps if of_smaller >= DRAWN_AROUND]
    return [max(near, key=lambda one: one[0])[1]] if near else []


def _numbers(faces: Sequence[FoundFace]) -> str:
    return "1" if len(faces) == 1 else f"1 to {len(faces)} (from the left)"


def _most_like(only: Identity[Any], faces: Sequence[FoundFace], by_hand: Mapping[int, ByHand]) -> list[FoundFace]:
    """The face that is most surely a person, of those that nothing was said of, unless another was said to be them.

    Raises OtherPersonError if that may not be them; of a lone face less is asked.
    """
    left = [face for face in faces if face.number not in by_hand]
    if not left or any(one.become == "person" for one in by_hand.values()):
        return []
    matches = [matching.match(face.probe, face.coarse.score, [only])[0] for face in left]
    best = max(range(len(left)), key=lambda i: (matches[i].certainty, -matches[i].distance))
    if left[best].place is not None:  # who gives an aligned picture has chosen
        _check_may_be(left, [match.certainty for match in matches])
    return [left[best]]


def _check_may_be(faces: Sequence[FoundFace], sure: Sequence[float]) -> None:
    alone = len(faces) == 1
    if max(sure) < (LONE_FACE if alone else refusal_threshold()):
        told = ", ".join(f"face {face.number}: {100 * one:.0f} %" for face, one in zip(faces, sure, strict=True))
        itself = f"if it is them, choose face {faces[0].number}" if alone else "choose the face yourself"
        raise (LoneFaceError if alone else OtherPersonError)(
            f"has no face that is surely the person of the references ({told})",
            subject=faces[0].photo.name,
            hint=f"{itself}, or give more photographs of the person",
        )
