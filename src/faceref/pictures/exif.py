"""EXIF: what a camera wrote, how much of it is true of a restored picture, and what is too damaged to be written."""

import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image

from faceref.pictures.quiet import pillow_warnings

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
ORIENTATION, IPTC_TAG = 0x0112, 0x83BB
IMAGE_HISTORY = 0x9213  # ISO 12234-2, TIFF/EP
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
# TIFF's and EXIF's tags of how pixels are stored, the orientation among them, and TIFF's places for XMP, IPTC,
# Photoshop's resources and the colour profile: true of the photograph's file, not of another.
_STORAGE_TAGS = frozenset(
    (*range(254, 267), *range(273, 282), 284, *range(288, 294), 301, *range(317, 348), *range(512, 533))
) | {700, IPTC_TAG, 0x8649, 0x8773, 0x935C}


@dataclass(frozen=True)
class Exif:
    """EXIF as it was read: `kept` is what a result may say again; damaged: whether something could not be read."""

    kept: bytes | None = None
    orientation: int = 1
    damaged: bool = False


def read_exif(image: Image.Image) -> Exif:
    """The EXIF of an opened picture, whatever its state. Nothing is raised: a photograph is more than its EXIF."""
    with pillow_warnings() as said:
        try:
            Image.Exif().load(image.info.get("exif") or b"")  # the picture's own raises the first time only
            exif = image.getexif()
        except Exception:  # Pillow does not document what damaged EXIF raises; SyntaxError, KeyError... have been seen
            return Exif(damaged=True)
        kept, damaged = kept_exif(exif)
        try:
            orientation = exif.get(ORIENTATION, 1)
        except Exception:  # as above
            orientation, damaged = 1, True
    corrupt = any("orrupt EXIF" in warning or "Truncated" in warning for warning in said)
    return Exif(kept, orientation if orientation in range(1, 9) else 1, damaged or corrupt)


def kept_exif(exif: Image.Exif) -> tuple[bytes | None, bool]:
    """All of a photograph's EXIF but how its pixels were stored, orientation and preview with it; None if that is none.

    Beside it: whether there are fields too damaged to be read or written again, which are left out. Camera makers'
    notes are kept as bytes.
    """
    kept: dict[int, Any] = {}
    damaged = False
    for tag in [tag for tag in {*exif, EXIF_IFD, GPS_IFD} if tag not in _STORAGE_TAGS]:
        try:
            value = _directory(exif, tag) if tag in (EXIF_IFD, GPS_IFD) else exif[tag]
        except Exception:  # as in read_exif
            damaged = True
            continue
        if isinstance(value, dict):
            damaged |= not value and tag in exif  # it is somewhere else than the file says
            sound = {inner: v for inner, v in value.items() if _can_be_written({tag: {inner: v}})}
            damaged |= len(sound) < len(value)
            if sound:
                kept[tag] = sound
        elif _can_be_written({tag: value}):
            kept[tag] = value
        else:
            damaged = True
    return (exif_bytes(kept, exif.endian) if kept else None), damaged


def exif_fields(exif: bytes | None) -> tuple[dict[int, Any], str | None]:
    """Fields by tag, and byte order, of what `kept_exif` gave; inner directories (camera, place) are dictionaries."""
    read = Image.Exif()
    read.load(exif or b"")
    fields = {tag: read[tag] for tag in read if tag not in (EXIF_IFD, GPS_IFD)}
    inner = {directory: _directory(read, directory) for directory in (EXIF_IFD, GPS_IFD)}
    return {**fields, **{directory: values for directory, values in inner.items() if values}}, read.endian


def exif_bytes(fields: dict[int, Any], endian: str | None = None) -> bytes:
    """What `exif_fields` gave, as a file holds it; endian: "<" or ">", which makers' notes may follow."""
    exif = Image.Exif()
    exif.endian = endian
    for tag, value in fields.items():
        exif[tag] = as_it_was_read(value)
    return exif.tobytes()


def as_it_was_read(value: Any) -> Any:
    """A field's value, or a directory, whose texts Pillow writes as the bytes that it has read them from.

    It reads them as Latin-1, and would write question marks for all that is not ASCII: UTF-8 in most files.
    """
    if isinstance(value, str):
        return _Text(value)
    if isinstance(value, dict):
        return {tag: as_it_was_read(inner) for tag, inner in value.items()}
    return value


class _Text(str):
    def encode(self, encoding: str = "latin-1", errors: str = "replace") -> bytes:
        return super().encode("latin-1", "replace")


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """The camera's or the place's fields; the directory of interoperability lies in the camera's."""
    inner = dict(exif.get_ifd(tag))
    if INTEROPERABILITY_IFD in inner:
        inner[INTEROPERABILITY_IFD] = exif.get_ifd(INTEROPERABILITY_IFD)
    return inner


def _can_be_written(fields: dict[int, Any]) -> bool:
    try:
        exif_bytes(fields)
    except (struct.error, TypeError, ValueError, AttributeError):  # all of them are seen with damaged files
        return False
    return True
