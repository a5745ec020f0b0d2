"""A packet keeps what is true of the result, loses what is not, and carries our mark once."""

import time
import xml.etree.ElementTree as ET

import pytest

from faceref.pictures.xmp import DIGITAL_SOURCE_TYPE, clean_xmp, is_marked, marked_xmp

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 tiff:Orientation="6" Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
 <dc:rights>A. Photographer</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def mark_of(packet: str) -> list[str | None]:
    descriptions = ET.fromstring(packet).iter(f"{RDF}Description")
    return [mark for description in descriptions if (mark := description.get(SOURCE_TYPE))]


@pytest.mark.parametrize("xmp", [None, "", "not a packet", PACKET, marked_xmp(PACKET), marked_xmp(None)])
def test_a_packet_is_marked_once_and_keeps_what_it_said(xmp: str | None):
    clean, gone = clean_xmp(xmp.encode() if xmp else None)
    packet = marked_xmp(clean)
    assert mark_of(packet) == [DIGITAL_SOURCE_TYPE]
    assert is_marked(packet.encode())
    assert "Orientation" not in packet
    assert ("A. Photographer" in packet) == ("A. Photographer" in (xmp or ""))
    assert gone == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_packet_in_utf_16_is_one(encoding: str):
    clean, _ = clean_xmp(PACKET.encode(encoding) + b"\0\0")
    assert clean is not None
    assert "A. Photographer" in marked_xmp(clean)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_document_type_is_no_packet_in_any_encoding(encoding: str):
    packet = f'<!DOCTYPE x [<!ENTITY e "{"e" * 100}">]>{PACKET.replace("A. Photographer", "&e;" * 100)}'
    assert clean_xmp(packet.encode(encoding)) == (None, ())


def test_a_packet_of_many_properties_takes_no_longer_for_each():
    def seconds(properties: int) -> float:
        many = '<t:Orientation xmlns:t="http://ns.adobe.com/tiff/1.0/">6</t:Orientation>' * properties
        packet = PACKET.replace("<dc:rights>", f"{many}<dc:rights>").encode()
        begun = time.perf_counter()
        clean, _ = clean_xmp(packet)
        assert "Orientation" not in (clean or "Orientation")
        return time.perf_counter() - begun

    assert seconds(8000) < 8 * 4 * seconds(1000), "64 times as long if each is looked for among all"


def test_a_source_type_written_as_an_element_is_replaced_as_well():
    element = "<Iptc4xmpExt:DigitalSourceType>http://x</Iptc4xmpExt:DigitalSourceType><dc:rights>"
    packet = marked_xmp(PACKET.replace("<dc:rights>", element))
    assert "http://x" not in packet
    assert mark_of(packet) == [DIGITAL_SOURCE_TYPE]


def test_another_prefix_of_rdf_and_no_prefix_at_all_are_marked():
    for packet in ("<r:RDF xmlns:r='{}'></r:RDF>", "<RDF xmlns='{}'></RDF>"):
        marked = marked_xmp(packet.format(RDF[1:-1]))
        assert mark_of(marked) == [DIGITAL_SOURCE_TYPE]
        assert is_marked(marked.encode())


@pytest.mark.parametrize(
    "packet",
    [
        PACKET.replace("digitalCapture", "compositeWithTrainedAlgorithmicMedia"),
        PACKET.replace("digitalCapture", "trainedAlgorithmicMedia"),
        PACKET.replace("A. Photographer", "made with faceref, urn:faceref:1.0/ Restored"),
        "",
        "urn:faceref:1.0/",
    ],
)
def test_only_our_own_mark_is_ours(packet: str):
    assert not is_marked(packet.encode())


# As phones write it: Google's container specification, and Adobe's of gain maps
MOTION = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:C="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:note="http://ns.adobe.com/xmp/note/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 hdrgm:Version="1.0" GCamera:MotionPhoto="1" note:HasExtendedXMP="0123" dc:creator="A. Photographer">
<C:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><C:Item Item:Semantic="MotionPhoto" Item:Length="5000"/></rdf:li>
</rdf:Seq></C:Directory><xmp:Thumbnails><rdf:Alt><rdf:li>old look</rdf:li></rdf:Alt></xmp:Thumbnails></rdf:Description>
</rdf:RDF></x:xmpmeta>"""


def test_what_points_to_things_that_are_not_there_any_more_is_taken_out_whatever_its_prefix():
    clean, gone = clean_xmp(MOTION.encode())
    assert clean is not None
    for promise in ("Motion", "5000", "hdr-gain-map", "google", "HasExtendedXMP", "old look"):
        assert promise not in clean
    assert "A. Photographer" in clean
    assert gone == (
        "a gain map",
        "a motion photo",
        "a preview",
        "more XMP than fits one segment",
        "parts behind the picture",
    )
    assert clean_xmp(clean.encode()) == (clean, ())
