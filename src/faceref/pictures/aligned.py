"""Aligned faces on disk: square pictures in the formats that photographs may have, the same for every command."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from faceref.errors import DataError, PhotoError, printable
from faceref.pictures.decode import decode
from faceref.pictures.exif import read_exif
from faceref.pictures.photo import read_bytes, upright_pixels


@dataclass(frozen=True)
class FileState:
    """What was found of a file: its SHA-256 and the picture's side in pixels, or what is wrong: "does not exist"."""

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

    Raises DataError if it is missing, no photograph, truncated or otherwise damaged, or not square.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, Image.Image]:
    """The file, and its picture as a photograph is opened, without what nobody asks of a face in a data set."""
    try:
        content = read_bytes(path)
        decoded = decode(content, printable(path), smallest=1)  # degraded faces may have 16 pixels
    except PhotoError as error:
        raise DataError(error.reason, subject=path, hint=error.hint) from error
    if decoded.warnings:  # a photograph's truncated file serves as far as it goes
        raise DataError(decoded.warnings[0], subject=path, hint="use another copy of it")
    pixels = upright_pixels(decoded, read_exif(decoded.image).orientation)
    face = pixels.rgb
    if face.width != face.height:
        reason = f"is {face.width}x{face.height}, not square"
        raise DataError(reason, subject=path, hint="align it first", code="not_square")
    if pixels.alpha is not None:
        face.putalpha(pixels.alpha)
    return content, face
