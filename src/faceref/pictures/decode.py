"""A file's bytes to a decoded picture: by format, its size checked before, a truncated JPEG as far as it goes."""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import psutil
from PIL import Image
from PIL import __version__ as PILLOW

from faceref.errors import PhotoError
from faceref.pictures.formats import DAMAGED, HEAD, NAMES, READERS, format_of
from faceref.pictures.jpeg import JPEG, check_scans
from faceref.pictures.metadata import file_losses
from faceref.pictures.quiet import pillow_warnings
from faceref.pictures.tiff import check_kind, mend_samples, refusal

# By whom a file became its pixels, for who keeps what he knows of them. The number is ours: of the ways to read a file
DECODER = f"Pillow {PILLOW}/2"
SMALLEST_SIDE = 20  # pixels
LARGEST_AREA = 400_000_000  # pixels
_ALWAYS_FITS = 100_000_000  # pixels: 1.4 GB
_BYTES_PER_PIXEL = 14  # of memory: RGB takes 8 at the peak, RGBA 13 (measured at 144 megapixels), the result 3 more


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture as stored; `rows` of it came through. `cicp`: PNG's chunk; remarks continue "The picture "."""

    image: Image.Image
    rows: int
    cicp: bytes | None = None
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()


def decode(data: bytes, name: str, smallest: int = SMALLEST_SIDE) -> Decoded:
    """Decode JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC; raises PhotoError about `name` for anything else.

    smallest: pixels that each side needs.
    """
    image = open_header(io.BytesIO(data), name)
    check_kind(image, data, name)
    check_size(image.size, name, smallest=smallest)
    mend_samples(image)
    if image.format in JPEG:
        check_scans(data, name)
    losses: tuple[str, ...] = ()
    try:
        losses = tuple(file_losses(image, data))
        # of a TIFF file's EXIF; hidden for this format alone, since other threads wait meanwhile
        with pillow_warnings() if image.format == "TIFF" else nullcontext():
            image.load()
    except DAMAGED as error:
        if image.format not in JPEG:
            raise _cannot_be_decoded(name) from error
    except Image.DecompressionBombError as error:  # a single tile of a TIFF file
        raise _too_large_for_pillow(name) from error
    else:
        _check_palette(image, name)
        cicp = _png_chunk(data, b"cICP") if image.format == "PNG" else None
        return Decoded(image, image.height, cicp, losses=losses)
    image, rows = _decode_truncated_jpeg(data, name)
    what = "some detail is lost"
    if rows < image.height:
        what = f"{round(100 * rows / image.height)} % of it could be read"
    return Decoded(image, rows, warnings=(f"is truncated: {what}.",), losses=losses)


def _check_palette(image: Image.Image, name: str) -> None:
    """Raises PhotoError where the colours are missing that pixels are numbers of."""
    if image.mode in ("P", "PA") and image.palette is None:
        raise _cannot_be_decoded(name)


def decode_in_memory(image: Image.Image, name: str) -> Decoded:
    """The same of a picture that Pillow has opened already; it may not be decoded yet."""
    check_kind(image, b"", name)
    check_size(image.size, name)
    mend_samples(image)
    losses = tuple(file_losses(image, b""))
    try:
        image.load()
    except DAMAGED as error:
        raise _cannot_be_decoded(name) from error
    _check_palette(image, name)
    return Decoded(image, image.height, losses=losses)


def open_header(file: BinaryIO, name: str) -> Image.Image:
    """What the first bytes say of a picture, which decodes on first use, from `file`; raises PhotoError.

    Not by Image.open, whose limit on the size is one for the whole process and warns through Python's filters.
    """
    format = format_of(file.read(HEAD))
    file.seek(0)
    if format == "HEIF":
        return _open_heif(file, name)
    reader = READERS.get(format or "")
    if reader is None:
        raise _is_no_picture(name)
    try:
        with pillow_warnings():
            return reader(file, "")
    except DAMAGED as error:
        file.seek(0)
        if format in _REPAIRS and (image := _open_repaired(_REPAIRS[format](file.read()), format)):
            return image
        refused = refusal(file, name) if format == "TIFF" else None
        raise refused or _is_no_picture(name) from error
    except Image.DecompressionBombError as error:  # WebP allocates its canvas when it is opened, and checks by itself
        raise _too_large_for_pillow(name) from error


def png_without_pixels(png: bytes) -> bytes:
    """All else that a PNG says, of which some programs write a part behind the pixels."""
    return png[:8] + b"".join(png[start:end] for name, start, end in _png_chunks(png) if name != b"IDAT")


def check_size(size: tuple[int, int], name: str, scale: int = 1, smallest: int = SMALLEST_SIDE) -> None:
    """Raises PhotoError for a picture too small to hold a face, or too large for us or for the memory that is free.

    scale: how many times larger it is to be made.
    """
    width, height = size
    area = width * height * scale**2
    if min(size) < smallest:
        reason = f"is only {width}x{height} pixels; at least {smallest}x{smallest} are needed"
        raise PhotoError(reason, subject=name)
    hint = "make it smaller or cut out the faces"
    has = "has" if scale == 1 else f"enlarged {scale} times has"
    if area > LARGEST_AREA:
        raise PhotoError(f"{has} more than {LARGEST_AREA // 1_000_000} megapixels", subject=name, hint=hint)
    needed, free = area * _BYTES_PER_PIXEL, psutil.virtual_memory().available
    if area > _ALWAYS_FITS and needed > free:
        reason = f"{has} {area / 1e6:.0f} megapixels, for which {needed / 1e9:.1f} GB of memory are needed"
        raise PhotoError(f"{reason} and {free / 1e9:.1f} GB are free", subject=name, hint=hint)


def _open_heif(file: BinaryIO, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # extra heif
    except ImportError:
        reason, hint = "is a HEIC picture", "install faceref[heif] or save it as JPEG"
        raise PhotoError(reason, subject=name, hint=hint) from None
    try:
        return HeifImageFile(file)
    except DAMAGED as error:
        raise PhotoError("cannot be decoded as HEIC", subject=name, hint="save it as JPEG") from error


def _open_repaired(data: bytes, format: str) -> Image.Image | None:
    """A picture without what was damaged beside its pixels; None if it cannot be opened even so."""
    try:
        image = READERS[format](io.BytesIO(data), "")
    except DAMAGED:
        return None
    image.info["exif"] = b"damaged"  # so that whoever reads it is told
    return image


def _without_exif_item(avif: bytes) -> bytes:
    """libavif refuses a picture for its damaged EXIF; an item of an unknown type it passes over."""
    return re.sub(rb"(infe.{8})Exif", rb"\1none", avif, flags=re.DOTALL)  # ISO/IEC 14496-12, ItemInfoEntry


def _without_damaged_fields(png: bytes) -> bytes:
    """Pillow refuses a picture for a damaged chunk, though those that begin with a small letter are not needed."""
    sound = [
        png[start:end]
        for name, start, end in _png_chunks(png)
        if name[:1].isupper() or zlib.crc32(png[start + 4 : end - 4]) == int.from_bytes(png[end - 4 : end])
    ]
    return png[:8] + b"".join(sound)


_REPAIRS = {"AVIF": _without_exif_item, "PNG": _without_damaged_fields}


def _decode_truncated_jpeg(data: bytes, name: str) -> tuple[Image.Image, int]:
    """The picture and how many of its rows are whole. With an end marker appended libjpeg fills the rest with grey."""
    try:
        with pillow_warnings():
            image = READERS["JPEG"](io.BytesIO(data + b"\xff\xd9" * 8), "")
        image.load()
    except DAMAGED as error:
        raise _cannot_be_decoded(name) from error
    right_end = np.asarray(image.crop((image.width - 8, 0, *image.size))).reshape(image.height, -1)
    real = np.flatnonzero(np.abs(right_end - 127.5).max(axis=1) > 1)  # grey is 127 in inverted CMYK, else 128
    rows = int(real[-1]) + 1 if len(real) else 0
    if rows == 0:
        reason = "is truncated and nothing of it can be read"
        raise PhotoError(reason, subject=name, hint="use another copy of it")
    # colour bleeds from the last whole block into the grey by a row
    return image, rows if rows == image.height else rows // 8 * 8


def _png_chunk(data: bytes, wanted: bytes) -> bytes | None:
    """The content of the first chunk of that name before the pixels."""
    for name, start, end in _png_chunks(data):
        if name == wanted:
            return data[start + 8 : end - 4]
        if name == b"IDAT":
            break
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk: length, name, content, checksum."""
    start = 8
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        yield data[start + 4 : start + 8], start, end
        start = end


def _is_no_picture(name: str) -> PhotoError:
    return PhotoError(f"is not a picture in {NAMES} format", subject=name)


def _too_large_for_pillow(name: str) -> PhotoError:
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    reason = f"has more than {most} megapixels, the most that is read of this format"
    return PhotoError(reason, subject=name, hint="make it smaller, or save it as JPEG or PNG")


def _cannot_be_decoded(name: str) -> PhotoError:
    return PhotoError("is damaged and cannot be decoded", subject=name, hint="use another copy of it")
