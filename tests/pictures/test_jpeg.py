"""A JPEG whose scans would take minutes to decode is refused by its bytes; previews in and behind it do not count."""

from pathlib import Path

import pytest
from picture_files import encoded
from PIL import Image

from faceref.errors import DataError, PhotoError
from faceref.pictures.aligned import open_face
from faceref.pictures.jpeg import MOST_SCANS, count_scans
from faceref.pictures.photo import open_photo

START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def with_scans(image: Image.Image, scans: int) -> bytes:
    """A progressive JPEG whose last scan, the finest detail of the luminance, is there again and again."""
    jpeg = encoded(image, "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(START_OF_SCAN) : -len(END_OF_IMAGE)]
    return jpeg[: -len(END_OF_IMAGE)] + last * (scans - count_scans(jpeg)) + END_OF_IMAGE


def test_scans_are_counted_as_they_were_written(astronaut: Image.Image):
    assert count_scans(encoded(astronaut, "JPEG")) == 1
    assert count_scans(encoded(astronaut, "JPEG", progressive=True)) == 10  # libjpeg's script for colours
    assert count_scans(encoded(astronaut.convert("L"), "JPEG", progressive=True)) == 6
    assert count_scans(encoded(astronaut, "JPEG")[:1000]) == 1  # truncated
    assert count_scans(b"\xff\xd8\xff") == 0


def test_a_jpeg_of_too_many_scans_is_refused_and_one_of_many_is_not(astronaut: Image.Image, tmp_path: Path):
    (tmp_path / "many.jpg").write_bytes(with_scans(astronaut, MOST_SCANS))
    assert open_photo(tmp_path / "many.jpg").image.size == astronaut.size
    assert open_face(tmp_path / "many.jpg").size == astronaut.size
    (tmp_path / "minutes.jpg").write_bytes(with_scans(astronaut, 1900))
    with pytest.raises(PhotoError, match=r"minutes\.jpg is a JPEG of 1900 scans; more than 100 are not read"):
        open_photo(tmp_path / "minutes.jpg")
    with pytest.raises(DataError, match=r"minutes\.jpg is a JPEG of 1900 scans"):
        open_face(tmp_path / "minutes.jpg")


def test_what_only_looks_like_scans_does_not_count(astronaut: Image.Image, tmp_path: Path):
    jpeg = encoded(astronaut, "JPEG", comment=START_OF_SCAN * 200) + START_OF_SCAN * 200  # in the header, and behind
    assert count_scans(jpeg) == 1
    (tmp_path / "film.jpg").write_bytes(jpeg)
    assert open_photo(tmp_path / "film.jpg").image.size == astronaut.size


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\xd8", b"\xff\xd0"])
def test_a_marker_without_a_length_hides_no_scans(marker: bytes, astronaut: Image.Image):
    jpeg = with_scans(astronaut, 200)
    first = jpeg.index(START_OF_SCAN)
    assert count_scans(jpeg[:first] + marker + b"\xff\xff" + jpeg[first:]) == 200
