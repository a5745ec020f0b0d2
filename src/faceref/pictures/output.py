"""Results as files: what the photograph's file said, and our own mark; what a format cannot hold is said."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

from faceref.errors import OutputError, printable
from faceref.files import write_atomically
from faceref.pictures.exif import (
    EXIF_IFD,
    IMAGE_HISTORY,
    IPTC_TAG,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    as_it_was_read,
    exif_bytes,
    exif_fields,
)
from faceref.pictures.formats import OUTPUT_FORMATS
from faceref.pictures.metadata import FileMetadata, JpegTables
from faceref.pictures.xmp import marked_xmp

_PIXEL_SIZE, _XMP_TAG, _INCH = (0xA002, 0xA003), 700, 2
_SEGMENT = 65533  # bytes that one segment of a JPEG holds
_XMP_HOLDS = _SEGMENT - len("http://ns.adobe.com/xap/1.0/\0")
_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65536}  # pixels, as libjpeg, libwebp and libavif write it
_HOLD_GREY = ("PNG", "JPEG", "TIFF")  # pictures of one channel, as they were
_COARSEST_JPEG = 75  # quality, as libjpeg counts


@dataclass(frozen=True)
class _Draft:
    """A result before it is encoded; `metadata` is what it says of its own making, if it was made by us."""

    image: Image.Image
    file: FileMetadata
    metadata: Mapping[str, str] | None
    generated: bool

    @property
    def xmp(self) -> str | None:
        return self.file.xmp if self.metadata is None else marked_xmp(self.file.xmp, self.generated)


def encode_picture(
    image: Image.Image,
    format: str,
    *,
    file: FileMetadata | None = None,
    metadata: Mapping[str, str] | None,
    generated: bool = True,
    name: str = "The result",
) -> tuple[bytes, tuple[str, ...]]:
    """A picture as PNG, JPEG, WebP, TIFF or AVIF (Pillow's names, in capitals) that says that it is AI-restored.

    file: what the photograph said and the result says again. The mark goes into XMP; `metadata` into PNG text chunks,
    else as a line of JSON into EXIF's ImageHistory; None: nothing was made, so that nothing is said of it. generated:
    whether a trained model made any of it, which XMP says to everybody. A JPEG is compressed as the photograph was if
    that was one, though no coarser than at quality 75; else at 95. Of a photograph of one channel the result has one,
    too, unless it has got colours, or the format has three always. Beside the bytes: a sentence about `name` for each
    thing that the format cannot hold. Raises OutputError.
    """
    encoder = _ENCODERS.get(format)
    if encoder is None:
        raise OutputError(f"cannot be written as {format}", subject=name, hint=f"use {', '.join(_ENCODERS)}")
    file = file or FileMetadata()
    options, left_out = encoder(_Draft(image, file, metadata, generated))
    if format == "JPEG" and image.mode not in ("L", "RGB"):
        if image.has_transparency_data:
            left_out.append("is on white where the photograph is transparent, since a JPEG has no transparency.")
        image = _on_white(image)
    if file.grey and format in _HOLD_GREY:
        image = _in_one_channel(image)
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, icc_profile=file.icc_profile, **options)
    except (ValueError, OSError) as error:  # Pillow: too large for the format
        raise OutputError(f"cannot be written in this format ({error})", subject=name, hint="use .png") from error
    return buffer.getvalue(), tuple(f"{name} {what}" for what in left_out)


def check_side(side: int, format: str, name: str) -> None:
    """Raises OutputError about `name` for a picture whose larger side has more pixels than its format holds."""
    largest = _LARGEST_SIDE.get(format, side)
    if side > largest:
        reason = f"would have {side} pixels on a side, and {format} holds {largest}"
        raise OutputError(reason, subject=name, hint="use .png", code="format_too_small")


def save_picture(
    image: Image.Image,
    path: str | Path,
    *,
    file: FileMetadata | None = None,
    metadata: Mapping[str, str] | None,
    generated: bool = True,
) -> tuple[str, ...]:
    """Write what `encode_picture` makes, in the format of the suffix of `path`, whole or not at all.

    An older file of that name is replaced. Returns a sentence for each thing that the format cannot hold. Raises
    OutputError.
    """
    path = Path(path)
    format = OUTPUT_FORMATS.get(path.suffix.lower())
    if format is None:
        reason, hint = "has no suffix that can be written", "use .png, .jpg, .webp or .tif"
        raise OutputError(reason, subject=path, hint=hint)
    name = printable(path)
    data, left_out = encode_picture(image, format, file=file, metadata=metadata, generated=generated, name=name)
    with write_atomically(path) as temporary:
        temporary.write_bytes(data)
    return left_out


def _png(draft: _Draft) -> tuple[dict[str, Any], list[str]]:
    file, chunks = draft.file, PngInfo()
    told = draft.metadata or {}
    for key, value in [*file.texts.items(), *told.items()]:  # one keyword may stand in several chunks
        chunks.add_itxt(key, value)
    if xmp := draft.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp)
    options: dict[str, Any] = {"pnginfo": chunks, "exif": _exif(draft, history=False)}
    return options | ({"dpi": file.dpi} if file.dpi else {}), _without(iptc=file.iptc)


def _jpeg(draft: _Draft) -> tuple[dict[str, Any], list[str]]:
    file = draft.file
    bare = replace(draft, file=FileMetadata())
    left_out: list[str] = []
    exif, xmp = _exif(draft), (draft.xmp or "").encode()
    if len(exif) > _SEGMENT:
        exif = _exif(bare)
        left_out.append(_too_large("EXIF"))
    if len(xmp) > _XMP_HOLDS:
        xmp = (bare.xmp or "").encode()
        left_out.append(_too_large("XMP"))
    comment, iptc = _comment(file.texts), _iptc_segment(file.iptc)
    if len(comment) > _SEGMENT:
        comment = b""
        left_out.append(_too_large("texts"))
    if iptc is None:
        iptc = b""
        left_out.append(_too_large("IPTC fields"))
    options: dict[str, Any] = {"exif": exif, "xmp": xmp, "comment": comment, "extra": iptc}
    return options | ({"dpi": file.dpi} if file.dpi else {}) | _compression(file.jpeg), left_out


def _webp(draft: _Draft) -> tuple[dict[str, Any], list[str]]:
    options = {"lossless": True, "exact": True, **_exif_and_xmp(draft)}  # exact: also where nothing is seen
    return options, _without(texts=draft.file.texts, iptc=draft.file.iptc)


def _avif(draft: _Draft) -> tuple[dict[str, Any], list[str]]:
    options = {"quality": 90, "subsampling": "4:4:4", **_exif_and_xmp(draft)}
    return options, _without(texts=draft.file.texts, iptc=draft.file.iptc)


def _tiff(draft: _Draft) -> tuple[dict[str, Any], list[str]]:
    """Uncompressed: libtiff takes no EXIF from Pillow."""
    fields, _ = _exif_fields(draft, dpi=True)
    fields = as_it_was_read(fields)
    if xmp := draft.xmp:
        fields[_XMP_TAG] = xmp.encode()
    if draft.file.iptc:
        fields[IPTC_TAG] = draft.file.iptc
    return {"tiffinfo": fields}, _without(texts=draft.file.texts)


_Encoder = Callable[[_Draft], tuple[dict[str, Any], list[str]]]
_ENCODERS: Mapping[str, _Encoder] = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "TIFF": _tiff, "AVIF": _avif}


def _exif_and_xmp(draft: _Draft) -> dict[str, Any]:
    """All that WebP and AVIF hold."""
    return {"exif": _exif(draft, dpi=True), "xmp": (draft.xmp or "").encode()}


def _exif(draft: _Draft, history: bool = True, dpi: bool = False) -> bytes:
    fields, endian = _exif_fields(draft, history, dpi)
    return exif_bytes(fields, endian) if fields else b""


def _exif_fields(draft: _Draft, history: bool = True, dpi: bool = False) -> tuple[dict[int, Any], str | None]:
    """The photograph's fields with this picture's size.

    history: with a line on its making, for formats without texts; dpi: with the resolution, for those without a field.
    """
    fields, endian = exif_fields(draft.file.exif)
    camera = fields.get(EXIF_IFD, {})
    camera |= {tag: side for tag, side in zip(_PIXEL_SIZE, draft.image.size, strict=True) if tag in camera}
    if history and draft.metadata is not None:
        before = [str(fields[IMAGE_HISTORY])] if IMAGE_HISTORY in fields else []
        fields[IMAGE_HISTORY] = "\n".join([*before, json.dumps(dict(draft.metadata))])
    if dpi and draft.file.dpi and X_RESOLUTION not in fields:
        across, down = draft.file.dpi
        fields |= {X_RESOLUTION: across, Y_RESOLUTION: down, RESOLUTION_UNIT: _INCH}
    return fields, endian


def _in_one_channel(image: Image.Image) -> Image.Image:
    """An RGB or RGBA picture as L or LA, if it has no colours."""
    red, *others = (image.getchannel(band) for band in "RGB")
    if any(ImageChops.difference(red, other).getbbox() for other in others):
        return image
    return Image.merge("LA", (red, image.getchannel("A"))) if image.mode == "RGBA" else red


def _compression(jpeg: JpegTables | None) -> dict[str, Any]:
    """As the photograph was compressed; where that was coarse, the restored face would be spoilt by it again."""
    if jpeg is None:
        return {"quality": 95, "subsampling": 0}
    floor = _tables_of(_COARSEST_JPEG)
    finer = [
        [min(step, coarsest) for step, coarsest in zip(table, floor[min(i, 1)], strict=True)]
        for i, table in enumerate(jpeg.tables)
    ]
    return {"qtables": finer, "subsampling": max(jpeg.subsampling, 0)}


def _tables_of(quality: int) -> list[list[int]]:
    """libjpeg's own tables of quantization, luma and chroma, as Pillow has them."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        tables: dict[int, list[int]] = image.quantization  # type: ignore[attr-defined]
        return [list(tables[key]) for key in sorted(tables)]


def _comment(texts: Mapping[str, str]) -> bytes:
    """A JPEG's one comment: the photograph's own, or a line for each text that it had as PNG."""
    if set(texts) <= {"Comment"}:
        return texts.get("Comment", "").encode()
    return "\n".join(f"{key}: {text}" for key, text in texts.items()).encode()


def _iptc_segment(iptc: bytes | None) -> bytes | None:
    """IPTC's fields in one of Photoshop's resources, as JPEG holds them; None if they do not fit."""
    if not iptc:
        return b""
    resource = b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + b"\0" * (len(iptc) % 2)
    segment = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + (len(segment) + 2).to_bytes(2) + segment if len(segment) <= _SEGMENT else None


def _on_white(image: Image.Image) -> Image.Image:
    """RGB without what is transparent, whose hidden colours would reappear."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return white


def _without(texts: Mapping[str, str] | None = None, iptc: bytes | None = None) -> list[str]:
    """What is said where a format has no place for them."""
    found = []
    if texts:
        found.append(f"is without the photograph's texts ({', '.join(texts)}); use .png or .jpg to keep them.")
    if iptc:
        found.append("is without the photograph's IPTC fields; use .jpg or .tif to keep them.")
    return found


def _too_large(what: str) -> str:
    return f"is without the photograph's {what}, since a JPEG holds 64 KB of it; use .png to keep it."
