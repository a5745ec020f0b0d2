"""What a camera wrote survives unless it is no longer true; what is damaged does no harm; the mark is there once."""

import random
import warnings
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from faceref.pictures.metadata import DIGITAL_SOURCE_TYPE, exif_fields, kept_exif, marked_xmp

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
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


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
    kept = Image.Exif()
    kept.load(kept_exif(camera_exif(endian)) or b"")
    assert kept.endian == endian
    fields = exif_fields(kept)
    assert fields.pop(CAMERA) == CAMERA_FIELDS
    assert fields.pop(PLACE) == PLACE_FIELDS
    assert fields == {MAKER: "Leica", X_RESOLUTION: 300.0, COPYRIGHT: camera_exif()[COPYRIGHT], RATING: 5}


def test_no_exif_is_none():
    assert kept_exif(Image.Exif()) is None
    only_turned = Image.Exif()
    only_turned[ORIENTATION] = 3
    assert kept_exif(only_turned) is None


def test_damaged_exif_never_raises_and_what_is_kept_can_be_read():
    raw, rng = camera_exif().tobytes(), random.Random(0)
    kept = 0
    for _ in range(500):
        damaged = bytearray(raw)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(14, len(damaged))] = rng.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of what it cannot read
            exif, again = Image.Exif(), Image.Exif()
            exif.load(bytes(damaged))
            again.load(kept_exif(exif) or b"")
            kept += MAKER in again
    assert kept > 400


PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 tiff:Orientation="6" Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
 <dc:rights>A. Photographer</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.mark.parametrize("xmp", [None, "", "not a packet", PACKET, marked_xmp(PACKET), marked_xmp(None)])
def test_a_packet_is_marked_once_and_keeps_what_it_said(xmp: str | None):
    packet = marked_xmp(xmp)
    root = ET.fromstring(packet)
    marks = [d.get(SOURCE_TYPE) for d in root.iter(f"{RDF}Description") if d.get(SOURCE_TYPE)]
    assert marks == [DIGITAL_SOURCE_TYPE]
    assert "Orientation" not in packet
    assert ("A. Photographer" in packet) == ("A. Photographer" in (xmp or ""))


def test_a_source_type_written_as_an_element_is_replaced_as_well():
    element = "<Iptc4xmpExt:DigitalSourceType>http://x</Iptc4xmpExt:DigitalSourceType><dc:rights>"
    packet = marked_xmp(PACKET.replace("<dc:rights>", element))
    assert "http://x" not in packet
    assert packet.count(DIGITAL_SOURCE_TYPE) == 1
    ET.fromstring(packet)
