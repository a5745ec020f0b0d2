"""What to do about an error in the words of the command: the library knows no options."""

from faceref.errors import FacerefError

# code of an error -> hint
HINTS: dict[str, str] = {
    "worker_ended": "run the command again with fewer --workers",
    "no_ray": "pip install 'faceref[ray]', or leave --ray out",
    "ray_failed": "run the command again, with fewer --workers or without --ray",
}


def sentence(error: FacerefError) -> str:
    """An error as the command says it."""
    return error.sentence(HINTS.get(error.code))
