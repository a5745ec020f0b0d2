"""What a camera wrote survives unless it is no longer true; what is damaged does no harm and is noticed."""

import random

import pytest
from PIL import Image

from faceref.pictures.exif import Exif, exif_fields, kept_exif, read_exif

# Tags of EXIF 2.32
MAKER, ORIENTATION, X_RESOLUTION, COPYRIGHT, RATING, STRIP_OFFSETS = 0x010F, 0x0112, 0x011A, 0x8298, 0x4746, 0x0111
CAMERA, PLACE, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
CAMERA_FIELDS = {
    0x9003: "1999:12:31 23:59:00",
    0x829A: 0.01,  # exposure time
    0x9204: -0.5,  # exposure bias
    0x927C: b"Maker\0\1\2" * 20,  # the maker's note
    0xA432: (24.0, 70.0, 2.8, 2.8),  # lens
    INTEROPERABILITY: {1: "R98", 2: b"0100"},
}
PLACE_FIELDS = {0: b"\2\3\0\0", 1: "N", 2: (51.0, 30.0, 12.25), 3: "W", 4: (0.0, 7.0, 1.0)}


def camera_exif(endian: str = ">") -> Image.Exif:
    exif = Image.Exif()
    exif.endian = endian
    exif[MAKER], exif[ORIENTATION], exif[X_RESOLUTION], exif[COPYRIGHT], exif[RATING] = "Leica", 6, 300.0, "Å", 5
    exif[STRIP_OFFSETS], exif[CAMERA], exif[PLACE] = 8, CAMERA_FIELDS, PLACE_FIELDS
    loaded = Image.Exif()
    loaded.load(exif.tobytes())
    return loaded


@pytest.mark.parametrize("endian", ["<", ">"])
def test_every_directory_is_kept_but_not_how_pixels_were_stored(endian: str):
    raw, damaged = kept_exif(camera_exif(endian))
    fields, order = exif_fields(raw)
    assert (order, damaged) == (endian, False)
    assert fields.pop(CAMERA) == CAMERA_FIELDS
    assert fields.pop(PLACE) == PLACE_FIELDS
    assert fields == {MAKER: "Leica", X_RESOLUTION: 300.0, COPYRIGHT: camera_exif()[COPYRIGHT], RATING: 5}


def test_no_exif_is_none():
    assert kept_exif(Image.Exif()) == (None, False)
    only_turned = Image.Exif()
    only_turned[ORIENTATION] = 3
    assert kept_exif(only_turned) == (None, False)


@pytest.mark.parametrize("first", [0, 14])  # with the header, after which nothing can be read; without
def test_damaged_exif_never_raises_and_what_is_kept_can_be_read(first: int):
    raw, rng = camera_exif().tobytes(), random.Random(0)
    kept = noticed = 0
    for _ in range(500):
        damaged = bytearray(raw)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(first, len(damaged))] = rng.randrange(256)
        image = Image.new("RGB", (8, 8))
        image.info["exif"] = bytes(damaged)
        exif = read_exif(image)
        fields, _ = exif_fields(exif.kept)
        kept += MAKER in fields
        noticed += exif.damaged
        assert exif.orientation in range(1, 9)
    assert kept > 400
    assert noticed > 100


@pytest.mark.parametrize(
    "raw", [b"garbage garbage", b"Exif\0\0garbage", b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03garbage", b"MM"]
)
def test_what_is_no_exif_is_noticed(raw: bytes):
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = raw
    assert read_exif(image) == Exif(kept=None, orientation=1, damaged=True)
