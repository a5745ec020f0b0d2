"""What a photograph's file says beside its pixels, and what of it a result can say again."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from PIL import Image, JpegImagePlugin

from faceref.pictures.exif import (
    IPTC_TAG,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    exif_fields,
    read_exif,
)
from faceref.pictures.quiet import pillow_warnings
from faceref.pictures.xmp import clean_xmp

_IPTC_RESOURCE = 0x0404  # Photoshop's, in JPEG
_CENTIMETRE = 3  # of RESOLUTION_UNIT; 2 is the inch
# PNG's text chunks that hold EXIF and XMP, which are read as such
_NOT_TEXT = re.compile(r"exif|XML:com\.adobe\.xmp|Raw profile type (exif|APP1|xmp)", re.IGNORECASE)


@dataclass(frozen=True)
class JpegTables:
    """How a JPEG was compressed. tables: 64 steps of quantization each, luma before chroma; subsampling: Pillow's."""

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


@dataclass(frozen=True, eq=False)
class FileMetadata:
    """What a result keeps of its photograph's file.

    format: Pillow's name (JPEG, PNG...), HEIF, or None for a picture from memory. exif: all but orientation and
    preview; orientation: EXIF's, 1 to 8, not applied by who reads this; xmp: a packet without what is not there any
    more; icc_profile: as it was. dpi: pixels an inch, across and down. texts: by keyword, as in PNG; "Comment" is a
    JPEG's. iptc: fields of IPTC's older kind (IIM) as bytes. jpeg: of a JPEG only. grey: of colours it stores one
    channel.
    """

    format: str | None = None
    grey: bool = False
    exif: bytes | None = None
    orientation: int = 1
    xmp: str | None = None
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    iptc: bytes | None = None
    jpeg: JpegTables | None = None


def read_metadata(image: Image.Image) -> tuple[FileMetadata, tuple[str, ...]]:
    """What a decoded picture's file says, and what of that a result will not have: each continues "The picture "."""
    exif = read_exif(image)
    xmp, gone = clean_xmp(image.info.get("xmp"))
    losses = []
    if exif.damaged:
        losses.append("has damaged EXIF or other fields; what cannot be read of them is left out.")
    if image.info.get("xmp") and xmp is None:
        losses.append("has XMP in an unusual form; the result does not keep it.")
    if gone:
        losses.append(f"has {' and '.join(gone)} with it, which the result and its XMP do not have.")
    file = FileMetadata(
        format="JPEG" if image.format == "MPO" else image.format,  # MPO: a JPEG with other pictures behind it
        grey=image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")),
        exif=exif.kept,
        orientation=exif.orientation,
        xmp=xmp,
        icc_profile=image.info.get("icc_profile"),
        dpi=_dpi(image, exif.kept),
        texts=_texts(image),
        iptc=_iptc(image),
        jpeg=_jpeg_tables(image),
    )
    return file, tuple(losses)


def file_losses(image: Image.Image, data: bytes) -> Iterator[str]:
    """What a file has in its pixels and a result will not; of a picture that is not decoded yet.

    Pillow brings 16-bit colour to 8 on its own, and knows nothing of AVIF's depth (`data` is the file).
    """
    deep = image.mode.startswith(("I", "F")) or ";16" in str(getattr(image, "tile", ""))
    pixi = data.find(b"pixi") if image.format == "AVIF" else -1  # version and flags, channels, bits of each
    bits = data[pixi + 9] if 0 <= pixi < len(data) - 9 else image.info.get("bit_depth", 8)  # the latter is HEIC's
    if deep or bits > 8:
        yield "has more than 8 bits a channel; the result has 8."
    if image.mode == "CMYK":
        yield "is in CMYK, for print; the result is in RGB."
    if image.mode == "LAB":
        yield "is in Lab colours; the result is in RGB."
    pictures = _number_of_pictures(image)
    if pictures > 1:
        yield f"has {pictures} pictures in it; the first is taken, and the result has no others."


def _number_of_pictures(image: Image.Image) -> int:
    """Pages, frames, a camera's second pictures; Pillow goes through the file to count them, and may find damage."""
    with pillow_warnings():
        try:
            return getattr(image, "n_frames", 1)
        except Exception:  # Pillow does not document what a damaged page raises
            image.seek(0)
            return 1


def _dpi(image: Image.Image, exif: bytes | None) -> tuple[float, float] | None:
    """By the file's own field, else by EXIF. Pillow invents a resolution for TIFF and JPEG files without one."""
    dpi = image.info.get("dpi") if image.format in ("PNG", "BMP") or image.info.get("jfif_unit") in (1, 2) else None
    if dpi is None:
        fields, _ = exif_fields(exif)
        unit = {2: 1.0, _CENTIMETRE: 2.54}.get(fields.get(RESOLUTION_UNIT, 2))
        across, down = fields.get(X_RESOLUTION), fields.get(Y_RESOLUTION, fields.get(X_RESOLUTION))
        dpi = (across * unit, down * unit) if unit and across and down else None
    try:
        across, down = (float(value) for value in dpi or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 1 < across < 1e5 and 1 < down < 1e5 else None  # 0 and 1 stand for "unknown"


def _texts(image: Image.Image) -> Mapping[str, str]:
    texts = {key: str(text) for key, text in getattr(image, "text", {}).items() if not _NOT_TEXT.fullmatch(key)}
    comment = image.info.get("comment") if image.format in ("JPEG", "MPO") else None
    if comment:
        try:
            texts["Comment"] = comment.decode("utf-8")
        except UnicodeDecodeError:  # JPEG does not say how it is written; every byte is a character of Latin-1
            texts["Comment"] = comment.decode("latin-1")
    return MappingProxyType(texts)


def _iptc(image: Image.Image) -> bytes | None:
    resources: dict[int, Any] = image.info.get("photoshop") or {}
    iptc = resources.get(_IPTC_RESOURCE) or getattr(image, "tag_v2", {}).get(IPTC_TAG)
    if isinstance(iptc, tuple) and all(isinstance(word, int) for word in iptc):  # TIFF files hold it as 32-bit words
        order = getattr(image, "tag_v2", None)
        return struct.pack(f"{getattr(order, '_endian', '<')}{len(iptc)}I", *iptc)
    return iptc if isinstance(iptc, bytes) else None


def _jpeg_tables(image: Image.Image) -> JpegTables | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    tables = tuple(tuple(image.quantization[key]) for key in sorted(image.quantization))
    return JpegTables(tables, JpegImagePlugin.get_sampling(image)) if tables else None
