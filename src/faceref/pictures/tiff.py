"""TIFF: what of it is read, what Pillow reads otherwise than it is stored, and in which words the rest is refused."""

from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from faceref.errors import PhotoError
from faceref.pictures.formats import DAMAGED
from faceref.pictures.quiet import pillow_warnings

_NEW_SUBFILE_TYPE, _BITS, _COMPRESSION, _COLOURS, _SUB_IFDS, _FORMAT = 254, 258, 259, 262, 330, 339
_DNG_VERSION = 50706
_COLOUR_NAMES = {0: "grey", 1: "grey", 2: "RGB", 3: "with a palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}  # by _COLOURS
_SIGNED = 2
_FORMAT_NAMES = {_SIGNED: "signed numbers", 3: "floating-point numbers"}  # by _FORMAT
_IN_OWN_ORDER = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}  # Pillow's names of kinds of samples
_USUAL_COMPRESSIONS = (1, 5, 7, 8, 32773)  # none, LZW, JPEG, Deflate, PackBits


def check_kind(image: Image.Image, data: bytes, name: str) -> None:
    """Raises PhotoError for a TIFF file that Pillow opens, but whose picture it does not read, or not as it is."""
    if not isinstance(image, TiffImageFile):
        return
    if _is_preview(image, data):
        hint = "save it as JPEG or TIFF with the camera's program"
        raise PhotoError("is a camera's raw file, of which only the preview could be read", subject=name, hint=hint)
    if image.tag_v2.get(_BITS) == (8,) and image.tag_v2.get(_FORMAT) == (_SIGNED,):
        raise _is_not_read(image.tag_v2, name)


def refusal(file: BinaryIO, name: str) -> PhotoError | None:
    """Why Pillow does not open a TIFF file, by what its tags say is in it; None if not even these can be read."""
    try:
        with pillow_warnings():
            header = file.read(8)
            if header.startswith(b"MM\0+"):  # whose tags Pillow does not read either
                return _of_a_kind(["BigTIFF", "big-endian"], name)
            tags = ImageFileDirectory_v2(header + (file.read(8) if header[2:3] == b"+" else b""))  # of BigTIFF
            file.seek(tags.next)
            tags.load(file)
            return _is_not_read(tags, name) if _BITS in tags else None
    except DAMAGED:
        return None


def mend_samples(image: Image.Image) -> None:
    """Have Pillow read what a picture that is not decoded yet holds: it mistakes two kinds of samples."""
    if not isinstance(image, TiffImageFile):
        return
    is_motorola = image.tag_v2.prefix == b"MM"
    planes = image.tag_v2.get(_BITS) in ((16,) * 3, (16,) * 4)

    def mended(raw_mode: str, codec: str) -> str:
        if codec == "raw" and planes and len(raw_mode) == 1:  # one for each channel, read as if they had 8 bits
            return f"{raw_mode};16{'B' if is_motorola else 'L'}"
        if codec == "libtiff" and is_motorola:  # which has brought them to this machine's order already
            return _IN_OWN_ORDER.get(raw_mode, raw_mode)
        return raw_mode

    image.tile = [
        tile._replace(args=(mended(tile.args[0], tile.codec_name), *tile.args[1:])) if tile.args else tile
        for tile in image.tile
    ]


def _is_preview(image: TiffImageFile, data: bytes) -> bool:
    """Whether a file that begins as TIFF is a raw one, whose picture lies beside the small one that it begins with."""
    if data[8:11] == b"CR\2":  # Canon's
        return True
    try:
        with pillow_warnings():
            kind = image.tag_v2.get(_NEW_SUBFILE_TYPE)
    except DAMAGED:
        return False
    is_reduced = isinstance(kind, int) and kind & 1 == 1
    return is_reduced and (_SUB_IFDS in image.tag_v2 or _DNG_VERSION in image.tag_v2)


def _is_not_read(tags: ImageFileDirectory_v2, name: str) -> PhotoError:
    first, *others = tags[_BITS]
    formats: tuple[int, ...] = tags.get(_FORMAT, ())
    compression = tags.get(_COMPRESSION, 1)
    times = f"{1 + len(others)} x " if others else ""
    said = [
        _COLOUR_NAMES.get(tags.get(_COLOURS, 1), "of unusual colours"),
        f"{times}{first} bits",
        *(_FORMAT_NAMES[format] for format in set(formats) & set(_FORMAT_NAMES)),
        *([] if compression in _USUAL_COMPRESSIONS else [f"compression {compression}"]),
    ]
    return _of_a_kind(said, name)


def _of_a_kind(said: Sequence[str], name: str) -> PhotoError:
    reason = f"is a TIFF of a kind that is not read ({', '.join(said)})"
    return PhotoError(reason, subject=name, hint="save it as PNG")
