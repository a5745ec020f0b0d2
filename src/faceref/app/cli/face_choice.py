"""Which face is restored, as one types it: `--face`, `--box` and `--only-largest` are one option of the library."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from faceref.errors import UsageError

if TYPE_CHECKING:
    from faceref.restore.options import FaceChoice

FaceOption = Annotated[
    str | None,
    typer.Option(
        "--face",
        metavar="N",
        help="Which face: a number from the left, largest, or all. By default the one most like the references; all "
        "without references, or with several people's, but for those in the background or cut off by the border.",
    ),
]
BoxOption = Annotated[
    str | None,
    typer.Option("--box", metavar="X,Y,WIDTH,HEIGHT", help="The face in this box, pixels, instead of --face."),
]
LargestOption = Annotated[bool, typer.Option("--only-largest", help="As --face largest.")]


def face_choice(face: str | None, box: str | None, only_largest: bool) -> "FaceChoice | None":
    """The choice that one of the three options says. Raises UsageError for several, or what is none."""
    if sum((face is not None, box is not None, only_largest)) > 1:
        raise UsageError("Only one of --face, --box and --only-largest can say which face", hint="leave the others out")
    if only_largest:
        return "largest"
    if box is not None:
        return _corners(box)
    if face is None or face == "largest" or face == "all":
        return face
    if not face.isdecimal():
        raise UsageError(f"There is no face {face!r}", hint="give a number (from the left), largest or all")
    return int(face)


def _corners(box: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box."""
    try:
        x, y, width, height = (float(part) for part in box.split(","))
    except ValueError:
        x = y = width = height = 0.0
    if not (width > 0 and height > 0 and math.isfinite(x + y + width + height)):
        raise UsageError(f"There is no box {box!r}", hint="give X,Y,WIDTH,HEIGHT in pixels, from the upper left corner")
    return x, y, x + width, y + height


def told(choice: "FaceChoice | None") -> str | None:
    """The choice as the account of a restoration says it; None if nobody chose."""
    match choice:
        case None:
            return None
        case "largest":
            return "the largest face"
        case "all":
            return "all faces"
        case int():
            return f"face {choice}"
        case left, top, right, bottom:
            return f"the face in the box {left:g},{top:g},{right - left:g},{bottom - top:g}"
