"""Aligned faces on disk: square pictures in the formats that photographs may have, the same for every command."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from faceref.errors import DataError, PhotoError
from faceref.pictures.colour import to_rgb
from faceref.pictures.decode import DAMAGED
from faceref.pictures.formats import FORMATS
from faceref.pictures.jpeg import JPEG, check_scans


@dataclass(frozen=True)
class FileState:
    """What was found of a file: its SHA-256 and the picture's side in pixels, or what is wrong, as in "is missing"."""

    digest: str = ""
    side: int = 0
    problem: str = ""


def inspect_face(path: Path) -> FileState:
    """Read and decode a file that should be an aligned face."""
    try:
        content, face = _read(path)
    except DataError as error:
        return FileState(problem=error.reason)
    return FileState(digest=hashlib.sha256(content).hexdigest(), side=face.width)


def open_face(path: Path) -> Image.Image:
    """An aligned face, upright, RGB, or RGBA if anything is transparent; alpha 0 is padding.

    Raises DataError if it is missing, in none of FORMATS, damaged or not square.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, Image.Image]:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.format in JPEG:
                check_scans(content, str(path))
            face = _in_8_bits(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise DataError("is missing", subject=path) from None
    except PhotoError as error:
        raise DataError(error.reason, subject=path, hint=error.hint) from error
    except UnidentifiedImageError:
        reason = f"it is in none of the formats {', '.join(FORMATS)}"
        raise DataError(f"cannot be read as a picture ({reason})", subject=path) from None
    except (*DAMAGED, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot be read as a picture ({reason})", subject=path) from error
    if face.width != face.height:
        reason = f"is {face.width}x{face.height}, not square"
        raise DataError(reason, subject=path, hint="align it first", code="not_square")
    return content, face


def _in_8_bits(image: Image.Image) -> Image.Image:
    pixels = to_rgb(image)
    if pixels.alpha is not None:
        pixels.rgb.putalpha(pixels.alpha)
    return pixels.rgb
