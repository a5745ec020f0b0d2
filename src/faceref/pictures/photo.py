"""Photographs as people have them: opening every usual format, finding them in folders.

A `Photo` is upright 8-bit RGB whatever the file was; what RGB cannot carry (alpha, EXIF, XMP, profile) lies beside it.
"""

import hashlib
import io
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from faceref.errors import PhotoError, UsageError
from faceref.pictures.metadata import has_iptc, kept_exif, xmp_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # no others of Pillow's: some of them run programs
PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))
PHOTO_SUFFIXES = PICTURE_SUFFIXES | {".heic", ".heif"}
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))  # ISO/IEC 23008-12
SMALLEST_SIDE = 20  # pixels
LARGEST_AREA = 100_000_000  # pixels

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow warns of large pictures through Python's filters, of which there is one list for all threads
_FILTERS = threading.Lock()


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph: `image` is RGB and upright (EXIF orientation applied).

    alpha: mode L, of the image's size, if anything is transparent; exif: all but orientation and preview; xmp: the
    packet as it was; icc_profile: of the image's RGB; grayscale: no pixel has a colour; readable: box (left, top,
    right, bottom) in pixels of what could be decoded, smaller than the image only for a truncated JPEG; warnings: what
    could not be read; losses: what the file has and a picture made from it will not; one sentence each.
    """

    image: Image.Image
    readable: tuple[int, int, int, int]
    path: Path | None = None
    alpha: Image.Image | None = None
    exif: bytes | None = None
    xmp: str | None = None
    icc_profile: bytes | None = None
    grayscale: bool = False
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    def is_readable(self, box: tuple[float, float, float, float]) -> bool:
        """Whether what lies in `box` (left, top, right, bottom) came through, as far as the photograph reaches."""
        inside = (max(box[0], 0), max(box[1], 0), min(box[2], self.image.width), min(box[3], self.image.height))
        left, top, right, bottom = self.readable
        return left <= inside[0] and top <= inside[1] and inside[2] <= right and inside[3] <= bottom


def open_photo(source: str | Path | Image.Image) -> Photo:
    """Open JPEG, PNG, WebP, BMP, TIFF or HEIC of 20x20 pixels to 100 megapixels, or take a picture already in memory.

    A truncated JPEG gives what can be decoded, a warning and the `readable` box.
    Raises PhotoError for anything that is not such a picture.
    """
    if isinstance(source, Image.Image):
        losses = _losses(source, "the picture")
        try:
            source.load()
        except (OSError, SyntaxError, ValueError) as error:  # Pillow decodes on first use
            raise PhotoError("The picture is damaged and cannot be decoded; use another copy of it.") from error
        return replace(_photo(source, "the picture"), losses=losses)
    path = Path(source)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"{path} does not exist; check the name.") from None
    except IsADirectoryError:
        raise PhotoError(f"{path} is a folder; name a photograph in it.") from None
    except OSError as error:
        raise PhotoError(f"{path} cannot be read ({error.strerror}); check its name and permissions.") from None
    if not data:
        raise PhotoError(f"{path} is empty; it was probably not copied completely.")
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS  # AVIF and MP4 begin alike
    image = _open_heif(data, path) if heif else _open(io.BytesIO(data), path)
    _check_size(image, str(path))
    losses = _losses(image, str(path))
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        if image.format not in ("JPEG", "MPO"):  # MPO: the JPEG of many cameras, with previews behind it
            raise PhotoError(f"{path} is damaged and cannot be decoded; use another copy of it.") from error
    else:
        return replace(_photo(image, str(path)), path=path, losses=losses)
    image, rows = _decode_truncated_jpeg(data, path)
    what = (
        "some detail is lost" if rows == image.height else f"{round(100 * rows / image.height)} % of it could be read"
    )
    warning = f"{path} is truncated: {what}."
    return replace(_photo(image, str(path), rows), path=path, warnings=(warning,), losses=losses)


def sides(source: str | Path | Image.Image) -> frozenset[int] | None:
    """Width and height, pixels, without decoding; None where that takes more than a header of Pillow's formats."""
    if isinstance(source, Image.Image):
        return frozenset(source.size)
    try:
        with Path(source).open("rb") as file:
            return frozenset(_open(file, Path(source)).size)
    except (OSError, PhotoError):
        return None


def check_aligned_face(photo: Photo, name: str) -> None:
    """Raises UsageError if the picture cannot be an aligned face, not being square; PhotoError if it is truncated."""
    width, height = photo.image.size
    if width != height:
        raise UsageError(f"{name} is {width}x{height} pixels, but an aligned face is square.")
    if not photo.is_readable((0, 0, width, height)):
        raise PhotoError(f"{name} is truncated through the face; use another copy of it.")


def find_photos(paths: Iterable[str | Path]) -> list[Path]:
    """The photographs among files and folders, folders searched to the bottom and in natural order (img2 before img10).

    Hidden files are passed over in folders; of files with the same bytes the first is taken. Files named themselves are
    taken whatever their suffix. Raises PhotoError for what does not exist or cannot be read, and for a folder without
    pictures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        check_exists(path)
        with _readable(path):
            inside = _photos_below(path) if path.is_dir() else [path]
        if not inside:
            raise PhotoError(f"{path} has no JPEG, PNG, WebP, BMP, TIFF or HEIC pictures in it; name another folder.")
        found += inside
    same_size = Counter(path.stat().st_size for path in found)
    distinct: dict[object, Path] = {}
    for path in found:
        with _readable(path):
            size = path.stat().st_size
            distinct.setdefault(_digest(path) if same_size[size] > 1 else size, path)
    return list(distinct.values())


def check_exists(path: Path) -> None:
    """Raises PhotoError, also for a name that the file system does not take."""
    with _readable(path):
        exists = path.exists()
    if not exists:
        raise PhotoError(f"{path} does not exist; check the name.")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into a PhotoError."""
    try:
        yield
    except OSError as error:
        name = error.filename or path
        raise PhotoError(f"{name} cannot be read ({error.strerror}); check its name and permissions.") from None


def _photos_below(folder: Path) -> list[Path]:
    inside = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(inside, key=lambda path: _natural(str(path)))


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key by which img2 comes before img10: text and numbers by turns."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _open(file: BinaryIO, path: Path, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Read the header with Pillow, which may only use `formats`."""
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(file, formats=formats)
    except Image.DecompressionBombError:
        raise PhotoError(_too_large(str(path))) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{path} is not a picture in JPEG, PNG, WebP, BMP, TIFF or HEIC format.") from error


def _open_heif(data: bytes, path: Path) -> Image.Image:
    try:
        import pillow_heif  # extra heif
    except ImportError:
        raise PhotoError(f"{path} is a HEIC picture; install faceref[heif] or save it as JPEG.") from None
    try:
        return pillow_heif.open_heif(io.BytesIO(data)).to_pillow()
    except (ValueError, OSError, RuntimeError, SyntaxError) as error:
        raise PhotoError(f"{path} cannot be decoded as HEIC; save it as JPEG.") from error


def _decode_truncated_jpeg(data: bytes, path: Path) -> tuple[Image.Image, int]:
    """The picture and how many of its rows are whole. With an end marker appended libjpeg fills the rest with grey."""
    image = _open(io.BytesIO(data + b"\xff\xd9" * 8), path, formats=("JPEG",))
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{path} is damaged and cannot be decoded; use another copy of it.") from error
    right_end = np.asarray(image)[:, -8:].reshape(image.height, -1)
    real = np.flatnonzero(np.abs(right_end - 127.5).max(axis=1) > 1)  # grey is 127 in inverted CMYK, else 128
    rows = int(real[-1]) + 1 if len(real) else 0
    if rows == 0:
        raise PhotoError(f"{path} is truncated and nothing of it can be read; use another copy of it.")
    # colour bleeds from the last whole block into the grey by a row
    return image, rows if rows == image.height else rows // 8 * 8


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > LARGEST_AREA:
        raise PhotoError(_too_large(name))
    if min(image.size) < SMALLEST_SIDE:
        size = f"{image.width}x{image.height}"
        raise PhotoError(f"{name} is only {size} pixels; at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed.")


def _too_large(name: str) -> str:
    return f"{name} has more than {LARGEST_AREA // 1_000_000} megapixels; make it smaller or cut out the faces."


def _photo(image: Image.Image, name: str, rows: int | None = None) -> Photo:
    """Bring a decoded picture to upright 8-bit RGB; `rows` of it, as stored, are real (all when None)."""
    _check_size(image, name)
    exif = image.getexif()
    icc_profile = image.info.get("icc_profile")
    rgb, alpha = _to_rgb(image)
    readable = Image.new("L", image.size)
    readable.paste(255, (0, 0, image.width, image.height if rows is None else rows))
    transpose = _UPRIGHT.get(exif.get(_ORIENTATION, 1))
    if transpose is not None:
        rgb, readable = rgb.transpose(transpose), readable.transpose(transpose)
        alpha = alpha and alpha.transpose(transpose)
    return Photo(
        image=rgb,
        readable=readable.getbbox() or (0, 0, 0, 0),
        alpha=alpha,
        exif=kept_exif(exif),
        xmp=xmp_of(image),
        icc_profile=icc_profile if image.mode in ("RGB", "RGBA", "P") else None,  # else it is not one of RGB
        grayscale=_is_gray(rgb),
    )


def _losses(image: Image.Image, name: str) -> tuple[str, ...]:
    """What a result will not have of a picture that is not decoded yet: Pillow brings 16-bit colour to 8 on its own."""
    deep = image.mode.startswith(("I", "F")) or ";16" in str(getattr(image, "tile", ""))
    found = {
        "has more than 8 bits a channel; the result has 8.": deep or image.info.get("bit_depth", 8) > 8,  # HEIC's
        "is in CMYK, for print; the result is in RGB.": image.mode == "CMYK",
        "has IPTC fields; the result does not keep them.": has_iptc(image),
        "has XMP in an unusual form; the result does not keep it.": bool(image.info.get("xmp")) and not xmp_of(image),
    }
    return tuple(f"{name} {what}" for what, is_so in found.items() if is_so)


def _to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """RGB, and alpha (mode L) if anything is transparent, of a picture of any mode."""
    if image.mode.startswith(("I", "F")):
        return _scaled_to_8_bit(image).convert("RGB"), None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        return rgba.convert("RGB"), alpha if alpha.getextrema() != (255, 255) else None
    if image.mode in ("CMYK", "L") and image.info.get("icc_profile"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            srgb = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert srgb is not None  # only when converting in place
            return srgb, None
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: the plain conversion below
    return image.convert("RGB"), None


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """Mode L of 16-bit, 32-bit or float grey: white is the smallest of 1 (floats), 255, 65535 that holds all values."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0).clip(0)
    whites = {"F": (1, 255, 65535), "I": (255, 65535)}.get(image.mode, (65535,))
    white = next((white for white in whites if values.max() <= white), values.max())
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


def _is_gray(rgb: Image.Image) -> bool:
    """Whether no colour differs from grey by more than JPEG's rounding, seen at 256 px."""
    small = rgb.copy() if max(rgb.size) <= 256 else rgb.resize((256, 256), Image.Resampling.BOX)
    return bool(np.ptp(np.asarray(small), axis=2).max() <= 2)
