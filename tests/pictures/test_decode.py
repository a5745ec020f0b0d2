"""What can be decoded is, what cannot gets one sentence, and no size surprises the memory."""

import io
import random
import re
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from picture_files import encoded, pixels
from PIL import Image, WebPImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from faceref.errors import PhotoError
from faceref.pictures.exif import exif_fields
from faceref.pictures.formats import READERS, format_of
from faceref.pictures.photo import open_photo

ORIENTATION = 0x0112


@pytest.mark.parametrize(
    ("fields", "raw"),
    [
        ({254: 1, 50706: b"\1\4\0\0"}, True),
        ({254: 1, 330: (8,)}, True),
        ({}, False),
        ({254: 0, 50706: b"\1\4\0\0"}, False),  # a scanner's, whose picture comes first
    ],
)
def test_a_raw_file_is_refused_as_what_of_it_can_be_read_is_its_preview(
    astronaut: Image.Image, fields: dict, raw: bool
):
    data = encoded(astronaut.resize((160, 160)), "TIFF", tiffinfo=fields)
    if not raw:
        assert open_photo(data).image.size == (160, 160)
        return
    with pytest.raises(PhotoError, match="is a camera's raw file, of which only the preview could be read; save it"):
        open_photo(data)


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.zeros((32, 32, 3), np.float32), "RGB, 3 x 32 bits, floating-point numbers"),
        (np.zeros((32, 32), np.float16), "grey, 16 bits, floating-point numbers"),
        (np.zeros((32, 32), np.int8), "grey, 8 bits, signed numbers"),
        (np.zeros((32, 32, 4), np.uint32), "RGB, 4 x 32 bits"),
    ],
)
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_that_is_not_read_is_no_other_format_but_of_a_kind_that_is_said(
    pixels: np.ndarray, kind: str, bigtiff: bool
):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack", bigtiff=bigtiff)
    with pytest.raises(PhotoError, match=f"is a TIFF of a kind that is not read \\({kind}\\); save it as PNG"):
        open_photo(buffer.getvalue())


def test_a_big_endian_bigtiff_is_called_so():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((32, 32, 3), np.uint8), photometric="rgb", bigtiff=True, byteorder=">")
    with pytest.raises(
        PhotoError, match=r"is a TIFF of a kind that is not read \(BigTIFF, big-endian\); save it as PNG"
    ):
        open_photo(buffer.getvalue())


def test_heic_without_its_library_names_the_extra(
    tmp_path: Path, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "photo.heic"
    pytest.importorskip("pillow_heif").from_pillow(astronaut).save(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r"install faceref\[heif\]"):
        open_photo(path)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.35, 0.7, 0.999])
def test_a_truncated_jpeg_gives_what_came_through(
    share: float, progressive: bool, tmp_path: Path, astronaut: Image.Image
):
    data = encoded(astronaut, "JPEG", progressive=progressive)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    photo = open_photo(path)
    assert photo.image.size == astronaut.size
    left, top, right, bottom = photo.readable
    assert (left, top, right) == (0, 0, 512)
    assert len(photo.warnings) == 1
    assert photo.warnings[0].startswith(f"{path} is truncated: ")
    whole = pixels(Image.open(io.BytesIO(data)))
    if not progressive:
        assert bottom == 512 or abs(bottom / 512 - share) < 0.2
        assert np.abs(pixels(photo.image) - whole)[: bottom - 24].max() == 0  # blocks of chroma have 16 rows and bleed
        if bottom < 512:
            assert (pixels(photo.image)[bottom + 24 :] == 128).all()
            assert photo.is_readable((-5, 0, 100, bottom))
            assert not photo.is_readable((0, 0, 100, bottom + 20))


def test_the_readable_part_turns_with_the_photo(tmp_path: Path, astronaut: Image.Image):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise: rows become columns from the right
    data = encoded(astronaut, "JPEG", exif=exif.tobytes())
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: len(data) // 2])
    left, top, right, bottom = open_photo(path).readable
    assert (top, right, bottom) == (0, 512, 512)
    assert 100 < left < 400


@pytest.mark.parametrize("size", [(20, 20), (20, 3000)])
def test_small_photos_open(size: tuple[int, int]):
    assert open_photo(Image.new("RGB", size)).image.size == size


def test_photos_of_200_megapixels_open_without_a_word(tmp_path: Path):
    path = tmp_path / "large.png"  # above the 89 megapixels from which Pillow warns, and the 179 which it refuses
    Image.new("1", (20000, 10000)).save(path)
    limit = Image.MAX_IMAGE_PIXELS
    assert open_photo(path).image.size == (20000, 10000)
    assert limit == Image.MAX_IMAGE_PIXELS  # it is one for the whole process


def test_what_memory_does_not_allow_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    scarce = type("Memory", (), {"available": 1_000_000_000})
    monkeypatch.setattr("psutil.virtual_memory", lambda: scarce)
    with pytest.raises(PhotoError, match=r"has 300 megapixels, .* 4\.2 GB of memory are needed and 1\.0 GB are free"):
        open_photo(header_of(30000, 10000))


def test_a_webp_that_pillow_would_not_open_is_refused_in_one_sentence():
    webp = bytearray(encoded(Image.new("RGBA", (30, 30), (1, 2, 3, 4)), "WEBP", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = 2 * (16382).to_bytes(3, "little")  # sides less one
    reason = "has more than 178 megapixels, the most that is read of this format"
    if not hasattr(WebPImagePlugin, "_get_size"):  # Pillow 11.3 has libwebp open it, which finds other sides within
        reason = "is not a picture in .* format"
    with pytest.raises(PhotoError, match=reason):
        open_photo(bytes(webp))


@pytest.mark.parametrize("format", ["heic", "avif", "png", "jpg", "tif", "webp", "bmp"])
def test_the_size_is_checked_before_anything_is_decoded(
    format: str, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def decoding(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    if format == "heic":
        data = io.BytesIO()
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(astronaut).save(data)
        bomb = re.sub(rb"ispe\0{4}.{8}", b"ispe\0\0\0\0" + 2 * (30000).to_bytes(4), data.getvalue(), flags=re.DOTALL)
        monkeypatch.setattr(heif.HeifImageFile, "load", decoding)
    else:
        bomb = encoded(astronaut, {"jpg": "JPEG", "tif": "TIFF"}.get(format, format.upper()))
        monkeypatch.setattr("faceref.pictures.decode.LARGEST_AREA", 512 * 511)
        monkeypatch.setattr(READERS[format_of(bomb) or ""] if format != "jpg" else JpegImageFile, "load", decoding)
    with pytest.raises(PhotoError, match="megapixels; make it smaller or cut out the faces"):
        open_photo(bomb)


def header_of(width: int, height: int) -> bytes:
    """A PNG that says it is that large, and has nothing in it."""
    png = encoded(Image.new("1", (30, 30)), "PNG")
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4) + png[33:]


def bad_inputs() -> dict[str, tuple[bytes | None, str]]:
    portrait = Image.effect_noise((64, 64), 50).convert("RGB")
    jpeg, png = encoded(portrait, "JPEG"), encoded(portrait, "PNG")
    return {
        "missing": (None, "does not exist"),
        "empty": (b"", "is empty"),
        "text": (b"Dear Sir or Madam, " * 50, "is not a picture"),
        "headless": (jpeg[:100], "is not a picture|nothing of it can be read|cannot be decoded"),
        "truncated png": (png[: len(png) // 2], "is damaged"),
        "tiny": (encoded(portrait.resize((19, 30)), "PNG"), "only 19x30 pixels; at least 20x20"),
        "huge": (header_of(20001, 20000), "more than 400 megapixels"),
        "bomb": (header_of(2_000_000, 1_000_000), "more than 400 megapixels"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n", "is not a picture"),
        "broken heic": (b"\0\0\0\x1cftypheic" + bytes(100), "be decoded as HEIC|is a HEIC picture"),
        "film": (b"\0\0\0\x20ftypisom" + bytes(100), "is not a picture"),
    }


@pytest.mark.parametrize("kind", bad_inputs())
def test_bad_input_gets_one_sentence_that_names_the_file(kind: str, tmp_path: Path):
    data, sentence = bad_inputs()[kind]
    path = tmp_path / "photo.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PhotoError, match=sentence) as raised:
        open_photo(path)
    message = str(raised.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_damaged_picture_in_memory_gets_one_sentence():
    png = encoded(Image.effect_noise((64, 64), 50), "PNG")
    with pytest.raises(PhotoError, match="is damaged"):
        open_photo(Image.open(io.BytesIO(png[: len(png) // 2])))


def test_a_folder_is_not_a_photo(tmp_path: Path):
    with pytest.raises(PhotoError, match="is a folder"):
        open_photo(tmp_path)


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP"])
def test_damage_anywhere_is_a_sentence_or_a_photograph(format: str, astronaut: Image.Image):
    small, exif, rng = astronaut.resize((40, 40)), Image.Exif(), random.Random(0)
    exif[0x010F], exif[0x8769] = "Leica", {0x9003: "1999:12:31 23:59:00"}
    several = {"save_all": True, "append_images": [small]} if format in ("MPO", "TIFF") else {}
    data = encoded(small, format, exif=exif.tobytes(), **several)
    opened = 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(min(len(damaged), rng.choice((300, 5000))))] = rng.randrange(256)
        with suppress(PhotoError):
            photo = open_photo(bytes(damaged))
            exif_fields(photo.file.exif)
            opened += 1
    assert opened > 0


def test_a_png_without_the_palette_that_its_pixels_are_numbers_of_is_damaged(tmp_path: Path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 32, 32, 8, 3, 0, 0, 0)
    pixels = zlib.compress(bytes(32 * 33))
    path = tmp_path / "bad.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    with Image.open(path) as opened:
        for source in (path, opened):
            with pytest.raises(PhotoError, match="is damaged and cannot be decoded"):
                open_photo(source)
