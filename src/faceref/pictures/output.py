"""Results on disk: pictures that say they are restored."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from faceref.errors import OutputError
from faceref.files import write_atomically
from faceref.pictures.metadata import DIGITAL_SOURCE_TYPE, EXIF_IFD, exif_bytes, exif_fields, marked_xmp

_IMAGE_HISTORY, _PIXEL_SIZE, _XMP_TAG = 0x9213, (0xA002, 0xA003), 700  # the history: ISO 12234-2, TIFF/EP
_JPEG_HOLDS = {"exif": 65533, "xmp": 65533 - len("http://ns.adobe.com/xap/1.0/\0")}  # bytes; each is one segment


def is_marked_restored(path: str | Path) -> bool:
    """Whether a picture's file carries the mark that `save_picture` leaves; False for one that cannot be read."""
    try:
        return DIGITAL_SOURCE_TYPE.encode() in Path(path).read_bytes()
    except OSError:
        return False


def save_picture(
    image: Image.Image,
    path: str | Path,
    *,
    exif: bytes | None = None,
    xmp: str | None = None,
    icc_profile: bytes | None = None,
    metadata: Mapping[str, str],
) -> tuple[str, ...]:
    """Write PNG, JPEG, WebP or TIFF by the suffix of `path`, whole or not at all, saying that it is AI-restored.

    IPTC's digital source type goes into XMP; `metadata` into PNG text chunks, else as a line of JSON into ImageHistory.
    `exif` (without orientation), `xmp` and `icc_profile` are those of the photograph. Returns a sentence for each of
    them that is too large for a JPEG, and for transparency, which it has none of. Raises OutputError.
    """
    path = Path(path)
    options = _save_options(path, image.size, exif, marked_xmp(xmp), metadata)
    too_large = [key for key, limit in _JPEG_HOLDS.items() if options["format"] == "JPEG" and len(options[key]) > limit]
    if too_large:
        own = _save_options(path, image.size, None, marked_xmp(None), metadata)
        options |= {key: own[key] for key in too_large}
    left_out = [
        f"{path} is without the photograph's {key.upper()}, since a JPEG holds 64 KB of it; use .png to keep it."
        for key in too_large
    ]
    if options["format"] == "JPEG" and image.mode not in ("L", "RGB"):
        if image.has_transparency_data:
            left_out.append(f"{path} is without the photograph's transparency, since a JPEG has none; use .png.")
        image = image.convert("RGB")
    with write_atomically(path) as temporary:
        try:
            image.save(temporary, icc_profile=icc_profile, **options)
        except ValueError as error:  # Pillow: too large for the format
            raise OutputError(f"{path} cannot be written in this format ({error}); use .png.") from error
    return tuple(left_out)


def _save_options(
    path: Path, size: tuple[int, int], exif: bytes | None, xmp: str, metadata: Mapping[str, str]
) -> dict[str, Any]:
    tags = Image.Exif()
    tags.load(exif or b"")
    fields = exif_fields(tags)
    camera = fields.get(EXIF_IFD, {})
    camera |= {tag: side for tag, side in zip(_PIXEL_SIZE, size, strict=True) if tag in camera}
    if path.suffix.lower() == ".png":
        chunks = PngInfo()
        for key, value in metadata.items():
            chunks.add_itxt(key, value)
        chunks.add_itxt("XML:com.adobe.xmp", xmp)
        return {"format": "PNG", "pnginfo": chunks, "exif": exif_bytes(fields, tags.endian) if fields else b""}
    before = [str(fields[_IMAGE_HISTORY])] if _IMAGE_HISTORY in fields else []
    fields[_IMAGE_HISTORY] = "\n".join([*before, json.dumps(dict(metadata))])
    match path.suffix.lower():
        case ".jpg" | ".jpeg":
            options: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
        case ".webp":
            options = {"format": "WEBP", "lossless": True}
        case ".tif" | ".tiff":  # uncompressed: libtiff takes no EXIF from Pillow
            return {"format": "TIFF", "tiffinfo": {**fields, _XMP_TAG: xmp.encode()}}
        case _:
            raise OutputError(f"{path} has no suffix that can be written; use .png, .jpg, .webp or .tif.")
    return {**options, "exif": exif_bytes(fields, tags.endian), "xmp": xmp.encode()}
