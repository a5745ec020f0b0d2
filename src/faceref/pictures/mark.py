"""Recognising our own results: by the mark in XMP, or by what `encode_picture` writes of their making.

That another program says that a model changed a picture does not make it ours.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from faceref.errors import PhotoError
from faceref.pictures.decode import open_header, png_without_pixels
from faceref.pictures.exif import IMAGE_HISTORY
from faceref.pictures.quiet import pillow_warnings
from faceref.pictures.xmp import is_marked


def is_marked_restored(path: str | Path) -> bool:
    """Whether a picture's file is a result of ours; False for one that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            image = open_header(file, str(path))
            restored = is_restored(image)
            if image.format == "PNG" and not restored:
                file.seek(0)
                restored = is_restored(open_header(io.BytesIO(png_without_pixels(file.read())), str(path)))
            return restored
    except (OSError, PhotoError):
        return False


def is_restored(image: Image.Image) -> bool:
    """The same of an opened picture. Of XMP, PNG's text and EXIF one is enough: programs keep some of them."""
    return is_marked(image.info.get("xmp")) or any(name.startswith("faceref ") for name in _software(image))


def _software(image: Image.Image) -> Iterator[str]:
    """The programs that the picture says it is from: by PNG's text, and by each line of EXIF's ImageHistory."""
    yield str(image.info.get("Software", ""))
    with pillow_warnings():
        try:
            # a PNG's own getexif would decode its pixels
            history = str(Image.Image.getexif(image).get(IMAGE_HISTORY, ""))
        except Exception:  # Pillow does not document what damaged EXIF raises
            return
    for line in history.splitlines():
        try:
            made = json.loads(line)
        except ValueError:  # somebody else's history
            continue
        if isinstance(made, dict):
            yield str(made.get("Software", ""))
