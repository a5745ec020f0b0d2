"""A photograph as it is worked on: upright 8-bit RGB whatever its file was; what RGB cannot carry lies beside it."""

import io
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from faceref.errors import PhotoError, UsageError, printable
from faceref.pictures.colour import Pixels, is_grey, to_rgb
from faceref.pictures.decode import Decoded, decode, decode_in_memory, open_header
from faceref.pictures.mark import is_restored
from faceref.pictures.metadata import FileMetadata, read_metadata
from faceref.pictures.search import unreadable

PhotoSource = str | Path | bytes | Image.Image
IN_MEMORY = "The picture"  # how sentences call one that has no file

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph: `image` is RGB and upright (EXIF orientation applied).

    readable: box (left, top, right, bottom) in pixels of what could be decoded, smaller than the image only for a
    truncated JPEG; alpha: mode L, of the image's size, if anything is transparent; grayscale: no pixel has a colour;
    file: what its file says and a result keeps; restored: whether it is a result of ours; warnings: what could not be
    read or had to be assumed; losses: what the file has and a picture made from it will not; one sentence each.
    """

    image: Image.Image
    readable: tuple[int, int, int, int]
    path: Path | None = None
    alpha: Image.Image | None = None
    grayscale: bool = False
    file: FileMetadata = field(default_factory=FileMetadata)
    restored: bool = False
    warnings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What sentences call it."""
        return printable(self.path or "the picture")

    def is_readable(self, box: tuple[float, float, float, float]) -> bool:
        """Whether what lies in `box` (left, top, right, bottom) came through, as far as the photograph reaches."""
        inside = (max(box[0], 0), max(box[1], 0), min(box[2], self.image.width), min(box[3], self.image.height))
        left, top, right, bottom = self.readable
        return left <= inside[0] and top <= inside[1] and inside[2] <= right and inside[3] <= bottom


def open_photo(source: PhotoSource) -> Photo:
    """Open JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC of 20x20 pixels to 400 megapixels: a file, its bytes, or a picture.

    The size is checked before anything is decoded. A truncated JPEG gives what can be decoded, a warning and the
    `readable` box; damaged EXIF is left out. Raises PhotoError for anything that is not such a picture.
    """
    if isinstance(source, Image.Image):
        return _photo(decode_in_memory(source, IN_MEMORY), IN_MEMORY, None)
    if isinstance(source, bytes):
        return _photo(decode(source, IN_MEMORY), IN_MEMORY, None)
    path = Path(source)
    name = printable(path)
    return _photo(decode(read_bytes(path), name), name, path)


def check_photo(path: Path) -> None:
    """Raises PhotoError for what is empty or no picture, by its first bytes, before anything is decoded."""
    open_header(io.BytesIO(read_bytes(path)), printable(path))


def sides(source: PhotoSource) -> frozenset[int] | None:
    """Width and height, pixels, without decoding; None where the header does not say."""
    try:
        if isinstance(source, Image.Image):
            return frozenset(source.size)
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            return frozenset(open_header(file, IN_MEMORY).size)
    except (OSError, PhotoError):
        return None


def check_aligned_face(photo: Photo, name: str) -> None:
    """Raises UsageError if the picture cannot be an aligned face, not being square; PhotoError if it is truncated."""
    width, height = photo.image.size
    if width != height:
        raise UsageError(f"is {width}x{height} pixels, but an aligned face is square", subject=name)
    if not photo.is_readable((0, 0, width, height)):
        raise PhotoError("is truncated through the face", subject=name, hint="use another copy of it")


def read_bytes(path: Path) -> bytes:
    """A photograph's file. Raises PhotoError if it is missing, empty or cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:  # a zero in its name
        raise PhotoError("does not exist", subject=path, hint="check the name") from None
    if not data:
        raise PhotoError("is empty", subject=path, hint="it was probably not copied completely")
    return data


def upright_pixels(decoded: Decoded, orientation: int) -> Pixels:
    """A decoded picture's pixels as they are looked at; orientation: EXIF's."""
    pixels = to_rgb(decoded.image, decoded.cicp)
    transpose = _UPRIGHT.get(orientation)
    if transpose is None:
        return pixels
    alpha = pixels.alpha and pixels.alpha.transpose(transpose)
    return replace(pixels, rgb=pixels.rgb.transpose(transpose), alpha=alpha)


def _photo(decoded: Decoded, name: str, path: Path | None) -> Photo:
    """Bring a decoded picture to upright 8-bit RGB, with all that is known of it."""
    file, missed = read_metadata(decoded.image)
    pixels = upright_pixels(decoded, file.orientation)
    return Photo(
        image=pixels.rgb,
        readable=_turned(decoded.rows, decoded.image.size, _UPRIGHT.get(file.orientation)),
        path=path,
        alpha=pixels.alpha,
        grayscale=is_grey(pixels.rgb),
        file=replace(file, icc_profile=pixels.icc_profile),
        restored=is_restored(decoded.image),
        warnings=tuple(f"{name} {what}" for what in (*decoded.warnings, *pixels.remarks)),
        losses=tuple(f"{name} {what}" for what in (*decoded.losses, *missed)),
    )


def _turned(rows: int, size: tuple[int, int], transpose: Image.Transpose | None) -> tuple[int, int, int, int]:
    """Where the upper `rows` of a picture of `size`, as stored, lie after `transpose`: a box."""
    width, height = size
    match transpose:
        case None | Image.Transpose.FLIP_LEFT_RIGHT:
            return 0, 0, width, rows
        case Image.Transpose.ROTATE_180 | Image.Transpose.FLIP_TOP_BOTTOM:
            return 0, height - rows, width, height
        case Image.Transpose.TRANSPOSE | Image.Transpose.ROTATE_90:
            return 0, 0, rows, width
        case _:  # rows become columns from the right
            return height - rows, 0, height, width
