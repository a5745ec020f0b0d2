"""Pictures as they leave the server: results in the photograph's format, and what a browser can show."""

import io
from dataclasses import dataclass

from PIL import Image

from faceref.errors import OutputError, UsageError
from faceref.pictures.formats import HEAD, OUTPUT_FORMATS, format_of
from faceref.pictures.naming import output_suffix
from faceref.pictures.output import check_side
from faceref.pictures.photo import open_photo
from faceref.restore.layers import Layers
from faceref.restore.options import Strength
from faceref.restore.result import Result

_MEDIA_TYPES = {"HEIF": "image/heic", "BMP": "image/bmp"} | {
    name: f"image/{name.lower()}" for name in OUTPUT_FORMATS.values()
}


@dataclass(frozen=True)
class Picture:
    """A picture as a file's bytes."""

    data: bytes
    media_type: str

    @classmethod
    def as_it_came(cls, data: bytes) -> "Picture":
        return cls(data, _MEDIA_TYPES[format_of(data[:HEAD]) or "PNG"])


def encoded(result: Result) -> tuple[Picture, tuple[str, ...]]:
    """A result in its photograph's format (PNG where that is too small), and a sentence for what it cannot hold."""
    format = _large_enough(OUTPUT_FORMATS[output_suffix(result.photo)], result.image)
    data, left_out = result.encode(format)
    return Picture(data, _MEDIA_TYPES[format]), left_out


def at_strength(photo: bytes, layers: Layers, strength: Strength) -> Picture:
    """What restoring with that strength gives, without restoring; nothing restored is the photograph as it came.

    Raises UsageError for a face that was not restored, or a picture that was made larger.
    """
    if layers.enlarged:
        hint = "restore it again with that strength"
        raise UsageError("A picture that was made larger is kept at one strength", hint=hint)
    shown = layers.at(strength)
    if not shown.is_new:
        return Picture.as_it_came(photo)
    opened = open_photo(photo)
    format = OUTPUT_FORMATS[output_suffix(opened)]
    data, _ = shown.encode(opened, format)
    return Picture(data, _MEDIA_TYPES[format])


def preview(photo: bytes) -> Picture:
    """A photograph of any format as a JPEG of the same size, upright; a PNG where it is too long for that.

    Raises PhotoError.
    """
    opened = open_photo(photo)
    format = _large_enough("JPEG", opened.image)
    return Picture(_saved(opened.image, format, opened.file.icc_profile), _MEDIA_TYPES[format])


def face(image: Image.Image) -> Picture:
    """An aligned face as a JPEG."""
    return Picture(_saved(image, "JPEG", None), "image/jpeg")


def _large_enough(format: str, image: Image.Image) -> str:
    """The format, or PNG where a picture is too large for it."""
    try:
        check_side(max(image.size), format, "")
    except OutputError:
        return "PNG"
    return format


def _saved(image: Image.Image, format: str, icc_profile: bytes | None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, quality=92, icc_profile=icc_profile)
    return buffer.getvalue()
