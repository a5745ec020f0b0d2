"""Every usual photograph opens as upright 8-bit RGB, and says what a result will not have of it."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from picture_files import difference, encoded, pixels
from PIL import Image

from faceref.pictures.formats import AVIF
from faceref.pictures.metadata import file_losses
from faceref.pictures.photo import open_photo

ORIENTATION, MAKER, EXIF_IFD, DATE_TAKEN = 0x0112, 0x010F, 0x8769, 0x9003


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("jpg", 4), ("png", 0), ("webp", 4), ("bmp", 0), ("tif", 0), ("heic", 6)]
)
def test_the_usual_formats_open(suffix: str, tolerance: float, tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / f"photo.{suffix}"
    if suffix == "heic":
        pytest.importorskip("pillow_heif").from_pillow(astronaut).save(path)
    else:
        astronaut.save(path)
    photo = open_photo(str(path))
    assert difference(photo, astronaut) <= tolerance
    assert photo.path == path
    assert not photo.grayscale
    assert photo.readable == (0, 0, 512, 512)
    assert photo.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_not_kept(orientation: int, tmp_path: Path, astronaut: Image.Image):
    photo_as_taken = astronaut.crop((100, 0, 400, 200))
    # EXIF 2.3, table 6: what is stored in row 0 / column 0, so that showing it upright undoes this
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }[orientation](np.asarray(photo_as_taken))
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER], exif[EXIF_IFD] = orientation, "Leica", {DATE_TAKEN: "1999:12:31 23:59:00"}
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif.tobytes())
    photo = open_photo(path)
    assert difference(photo, photo_as_taken) == 0
    kept = Image.Exif()
    kept.load(photo.file.exif or b"")
    assert dict(kept).get(ORIENTATION) is None
    assert kept[MAKER] == "Leica"
    assert kept.get_ifd(EXIF_IFD)[DATE_TAKEN] == "1999:12:31 23:59:00"


@pytest.mark.parametrize("xmp", [b"\xff\xfe<\0x\0", b"<x:xmpmeta", b"<!DOCTYPE a><a/>", b"<a>" * 5000])
def test_xmp_that_cannot_be_read_is_missed_with_a_word(xmp: bytes, tmp_path: Path, astronaut: Image.Image):
    path = tmp_path / "unusual.jpg"
    astronaut.save(path, xmp=xmp)
    photo = open_photo(path)
    assert photo.losses == (f"{path} has XMP in an unusual form; the result does not keep it.",)
    assert photo.file.xmp is None


def test_an_ordinary_photograph_loses_nothing(tmp_path: Path, astronaut: Image.Image):
    for name in ("a.jpg", "a.png", "a.tif", "a.webp"):
        astronaut.save(tmp_path / name)
        assert open_photo(tmp_path / name).losses == ()
    assert open_photo(astronaut).losses == ()


def test_a_picture_from_memory_is_left_as_it_was(astronaut: Image.Image):
    given = astronaut.copy()
    given.info = {"gamma": 1.0, "comment": b"mine"}
    photo = open_photo(given)
    assert given.info == {"gamma": 1.0, "comment": b"mine"}
    assert (pixels(given) == pixels(astronaut)).all()
    assert photo.image is not given
    assert photo.image.info == {}  # or Pillow would write it into the next file


def test_threads_that_open_damaged_photographs_give_back_the_filters_of_warnings(astronaut: Image.Image):
    data = encoded(astronaut, "TIFF", tiffinfo={EXIF_IFD: 0x7FFFFFFF})  # Pillow warns of it
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        photos = list(threads.map(open_photo, [data] * 16))
    assert warnings.filters == before
    assert all("damaged EXIF" in photo.losses[0] for photo in photos)


@pytest.mark.skipif(not AVIF, reason="this Pillow has no AVIF.")
def test_the_depth_of_an_avif_is_said(astronaut: Image.Image):
    data = bytearray(encoded(astronaut, "AVIF"))
    image = Image.open(io.BytesIO(data))
    assert list(file_losses(image, bytes(data))) == []
    at = data.index(b"pixi")
    data[at + 9 : at + 12] = b"\x0a\x0a\x0a"  # bits a channel, ISO/IEC 23008-12, 6.5.6
    assert list(file_losses(image, bytes(data))) == ["has more than 8 bits a channel; the result has 8."]
