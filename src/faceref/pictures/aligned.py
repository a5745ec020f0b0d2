"""Aligned faces on disk: square pictures in the formats that photographs may have, the same for every command."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from faceref.errors import DataError
from faceref.pictures.photo import FORMATS


@dataclass(frozen=True)
class FileState:
    """What was found of a file: its SHA-256, or what is wrong with it, as in "is missing"."""

    digest: str = ""
    problem: str = ""


def inspect_face(path: Path) -> FileState:
    """Read and decode a file that should be an aligned face."""
    try:
        content, _ = _read(path)
    except _FaceFileError as problem:
        return FileState(problem=str(problem))
    return FileState(digest=hashlib.sha256(content).hexdigest())


def open_face(path: Path) -> Image.Image:
    """An aligned face, upright, in the mode of its file; alpha 0 is padding.

    Raises DataError if it is missing, in none of FORMATS, damaged or not square.
    """
    try:
        return _read(path)[1]
    except _FaceFileError as problem:
        raise DataError(f"{path} {problem}") from problem


class _FaceFileError(Exception):
    """What is wrong with a file, without its name."""


def _read(path: Path) -> tuple[bytes, Image.Image]:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            face = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise _FaceFileError("is missing") from None
    except UnidentifiedImageError:
        reason = f"it is in none of the formats {', '.join(FORMATS)}"
        raise _FaceFileError(f"cannot be read as a picture ({reason})") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _FaceFileError(f"cannot be read as a picture ({reason})") from error
    if face.width != face.height:
        raise _FaceFileError(f"is {face.width}x{face.height}, not square: align it first (faceref data align)")
    return content, face
