"""What to do about an error in the words of the command: the library knows no options."""

from faceref.errors import FacerefError

# code of an error -> hint
HINTS: dict[str, str] = {}


def sentence(error: FacerefError) -> str:
    """An error as the command says it."""
    return error.sentence(HINTS.get(error.code))
