"""The formats that photographs come in and results go out in: their names, suffixes and first bytes."""

import struct

from PIL import AvifImagePlugin, BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

AVIF = bool(AvifImagePlugin.SUPPORTED)  # not in each build of Pillow
# No others of Pillow's: some of them run programs
READERS = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    **({"AVIF": AvifImagePlugin.AvifImageFile} if AVIF else {}),
}
# What damaged files make them raise
DAMAGED = (OSError, SyntaxError, ValueError, IndexError, TypeError, KeyError, RuntimeError, EOFError, struct.error)
# Suffix of a result -> Pillow's name of its format; the first of a format is the usual one
OUTPUT_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    **({".avif": "AVIF"} if AVIF else {}),
}
PICTURE_SUFFIXES = frozenset((*OUTPUT_FORMATS, ".bmp"))
PHOTO_SUFFIXES = PICTURE_SUFFIXES | {".heic", ".heif", ".hif", ".jfif", ".jpe"}
NAMES = f"JPEG, PNG, WebP, BMP, TIFF, {'AVIF ' if AVIF else ''}or HEIC"  # for sentences

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0"), "TIFF"),  # +: BigTIFF
}
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))  # ISO/IEC 23008-12
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
HEAD = 64  # bytes that `format_of` looks at


def format_of(head: bytes) -> str | None:
    """Pillow's name of a file's format, or HEIF, from its first bytes; None for what no photograph begins with."""
    if head[4:8] == b"ftyp":  # of all of ISO's media files: MP4 begins alike
        box = head[: min(int.from_bytes(head[:4]), HEAD)]
        brands = {head[8:12], *(box[i : i + 4] for i in range(16, len(box), 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        return "HEIF" if head[8:12] in _HEIF_BRANDS else None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for start, name in _STARTS.items() if head.startswith(start)), None)


def suffix_for(format: str | None, transparent: bool = False) -> str:
    """The suffix of a result that is to be as its photograph: of the same format where it can be written.

    HEIC, which lies compressed with loss, becomes JPEG; everything else PNG.
    """
    if format == "HEIF" and not transparent:
        return ".jpg"
    return next((suffix for suffix, name in OUTPUT_FORMATS.items() if name == format), ".png")
