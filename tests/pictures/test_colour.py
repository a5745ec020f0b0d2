"""Pixels of every kind become 8-bit RGB of the same colours."""

import io
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import difference, pixels
from PIL import Image, ImageCms

from faceref.pictures.photo import open_photo


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grayscale_is_noticed(mode: str, astronaut: Image.Image):
    photo = open_photo(astronaut.convert(mode))
    assert photo.grayscale
    assert difference(photo, astronaut.convert(mode).convert("L")) == 0
    assert open_photo(astronaut.convert("L").convert("RGB")).grayscale


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint16, 65535), (np.int32, 65535), (np.int32, 255), (np.float32, 1.0), (np.float32, 255.0)]
)
def test_deep_gray_is_scaled_to_8_bit(dtype: type, white: float, tmp_path: Path, astronaut: Image.Image):
    gray = np.asarray(astronaut.convert("L")).astype(np.float64) / 255
    path = tmp_path / "deep.tif"
    Image.fromarray((gray * white).astype(dtype)).save(path)
    photo = open_photo(path)
    assert photo.grayscale
    assert np.abs(pixels(photo.image)[..., 0] - gray * 255).max() <= 1


def test_a_16_bit_png_is_scaled_to_8_bit(tmp_path: Path):
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert np.abs(pixels(open_photo(tmp_path / "ramp.png").image)[..., 0] - ramp / 257).max() <= 0.5


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_16_bit_negative_of_a_scanner_is_seen_as_the_print(compression: str | None, astronaut: Image.Image):
    grey = np.asarray(astronaut.convert("L"))
    buffer = io.BytesIO()
    stored = 65535 - grey.astype(np.uint16) * 257
    tifffile.imwrite(buffer, stored, photometric="miniswhite", compression=compression)
    assert (pixels(open_photo(buffer.getvalue()).image)[..., 0] == grey).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("dtype", "white", "photometric"),
    [
        (np.int16, 32767, "minisblack"),
        (np.uint32, 2**32 - 1, "minisblack"),
        (np.int32, 2**31 - 1, "minisblack"),
        (np.float32, 1, "minisblack"),
        (np.float32, 1, "miniswhite"),
    ],
)
def test_grey_of_other_numbers_is_read_as_it_is_whatever_the_order_of_their_bytes(
    dtype: type, white: int, photometric: str, compression: str | None, order: Literal["<", ">"], astronaut: Image.Image
):
    if dtype == np.uint32 and order == ">":
        pytest.skip("Pillow does not open it, and it is refused")
    grey = np.asarray(astronaut.convert("L")).astype(np.float64) / 255
    stored = ((1 - grey if photometric == "miniswhite" else grey) * white).astype(dtype)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stored, photometric=photometric, compression=compression, byteorder=order)
    photo = open_photo(buffer.getvalue())
    assert np.abs(pixels(photo.image)[..., 0] - grey * 255).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_tiff_of_16_bits_with_a_plane_for_each_channel_is_read(
    order: Literal["<", ">"], in_memory: bool, astronaut: Image.Image
):
    buffer = io.BytesIO()
    planes = np.moveaxis(np.asarray(astronaut).astype(np.uint16) * 257, -1, 0)
    tifffile.imwrite(buffer, planes, photometric="rgb", planarconfig="separate", byteorder=order)
    photo = open_photo(Image.open(buffer) if in_memory else buffer.getvalue())
    assert difference(photo, astronaut) == 0
    assert "more than 8 bits" in photo.losses[0]


def test_palette_and_cmyk_become_rgb(tmp_path: Path, astronaut: Image.Image):
    palette = astronaut.convert("P", palette=Image.Palette.ADAPTIVE)
    assert difference(open_photo(palette), palette) == 0
    astronaut.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert difference(open_photo(tmp_path / "print.jpg"), astronaut) < 5


def deep_colour(path: Path) -> None:
    """RGB of 16 bits a channel, which Pillow cannot write."""
    cv2.imwrite(str(path), np.linspace(0, 65535, 40 * 40 * 3).reshape(40, 40, 3).astype(np.uint16))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "gray.png", "gray.tif", "deep.heic"])
def test_more_than_8_bits_are_brought_to_8_with_a_word(name: str, tmp_path: Path):
    path = tmp_path / name
    if name == "deep.heic":
        deep = np.full((64, 64, 3), 40000, np.uint16)
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_bytes("RGB;16", (64, 64), deep.tobytes()).save(path)
    elif name.startswith("gray"):
        Image.fromarray(np.full((40, 40), 40000, np.uint16)).save(path)
    else:
        deep_colour(path)
    photo = open_photo(path)
    assert photo.losses == (f"{path} has more than 8 bits a channel; the result has 8.",)
    assert photo.warnings == ()


def test_cmyk_becomes_rgb_with_a_word(tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / "print.jpg"
    astronaut.convert("CMYK").save(path)
    assert open_photo(path).losses == (f"{path} is in CMYK, for print; the result is in RGB.",)


def test_lab_becomes_rgb_with_a_word(tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / "lab.tif"
    lab = ImageCms.profileToProfile(
        astronaut, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.save(path)
    photo = open_photo(path)
    assert photo.losses == (f"{path} is in Lab colours; the result is in RGB.",)
    assert np.abs(np.subtract(np.asarray(photo.image), np.asarray(astronaut), dtype=float)).mean() < 3


def test_alpha_is_kept_beside_the_picture(astronaut: Image.Image):
    alpha = Image.linear_gradient("L").resize(astronaut.size)
    with_alpha = astronaut.copy()
    with_alpha.putalpha(alpha)
    photo = open_photo(with_alpha)
    assert difference(photo, astronaut) == 0
    assert photo.alpha is not None
    assert (pixels(photo.alpha) == pixels(alpha)).all()
    with_alpha.putalpha(255)
    assert open_photo(with_alpha).alpha is None


def test_gray_with_a_profile_of_its_own_is_brought_to_srgb():
    # An ICC profile of gray with linear values, as ICC.1 lays it out: header, tag table, white point, curve
    white = b"XYZ \0\0\0\0" + b"".join(int(v * 65536).to_bytes(4, "big") for v in (0.9642, 1.0, 0.8249))
    curve = b"curv\0\0\0\0\0\0\0\0"  # no entries: the identity
    table = (2).to_bytes(4, "big") + b"".join(
        name + offset.to_bytes(4, "big") + size.to_bytes(4, "big")
        for name, offset, size in ((b"wtpt", 156, 20), (b"kTRC", 176, 12))
    )
    size = 128 + 28 + 20 + 12
    header = size.to_bytes(4, "big") + bytes(4) + b"\x02\x10\0\0" + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    header += b"".join(int(v * 65536).to_bytes(4, "big") for v in (0.9642, 1.0, 0.8249)) + bytes(48)
    image = Image.new("L", (40, 40), 55)  # linear 0.2157
    image.info["icc_profile"] = header + table + white + curve
    photo = open_photo(image)
    assert abs(pixels(photo.image)[0, 0, 0] - 128) <= 1  # sRGB's curve: 0.2157 -> 0.502 (IEC 61966-2-1)
    assert photo.grayscale
    assert photo.file.icc_profile is None


def test_the_colour_profile_of_rgb_is_kept_and_that_of_gray_is_not(tmp_path: Path, astronaut: Image.Image):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    astronaut.save(tmp_path / "rgb.jpg", icc_profile=profile)
    astronaut.convert("L").save(tmp_path / "gray.jpg", icc_profile=profile)
    assert open_photo(tmp_path / "rgb.jpg").file.icc_profile == profile
    assert open_photo(tmp_path / "gray.jpg").file.icc_profile is None
