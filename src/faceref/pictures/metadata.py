"""What a photograph's file says beside its pixels, and how much of that is true of a restored picture: EXIF, XMP."""

import re
import struct
from typing import Any

from PIL import Image

# Made by a camera, then changed by a trained model (IPTC, Digital Source Type vocabulary)
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_MARK = f"""<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>"""
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="faceref"/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
_RDF_END = "</rdf:RDF>"
# As attributes or elements: what the mark replaces, and the orientation, which has been applied.
_REPLACED_XMP = re.compile(
    r"""\s(Iptc4xmpExt:DigitalSourceType|tiff:Orientation)\s*=\s*("[^"]*"|'[^']*')"""
    r"|<(Iptc4xmpExt:DigitalSourceType|tiff:Orientation)>[^<]*</\3>"
)

EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
_IPTC, _IPTC_RESOURCE = 0x83BB, 0x0404  # TIFF's tag, Photoshop's resource in JPEG
# TIFF's and EXIF's tags of how pixels are stored, the orientation among them, and TIFF's places for XMP, IPTC,
# Photoshop's resources and the colour profile: true of the photograph's file, not of another.
_STORAGE_TAGS = frozenset(
    (*range(254, 267), *range(273, 282), 284, *range(288, 294), 301, *range(317, 348), *range(512, 533))
) | {700, _IPTC, 0x8649, 0x8773, 0x935C}


def kept_exif(exif: Image.Exif) -> bytes | None:
    """All of a photograph's EXIF but how its pixels were stored, orientation and preview with it; None if that is none.

    Fields too damaged to be written again are left out. Camera makers' notes are kept as bytes.
    """
    kept: dict[int, Any] = {}
    for tag, value in exif_fields(exif).items():
        if isinstance(value, dict):
            if sound := {inner: v for inner, v in value.items() if _can_be_written({tag: {inner: v}})}:
                kept[tag] = sound
        elif tag not in _STORAGE_TAGS and _can_be_written({tag: value}):
            kept[tag] = value
    return exif_bytes(kept, exif.endian) if kept else None


def exif_fields(exif: Image.Exif) -> dict[int, Any]:
    """The fields of EXIF by tag; those of its inner directories (camera, place, interoperability) as dictionaries."""
    fields = {tag: exif[tag] for tag in exif if tag not in (EXIF_IFD, GPS_IFD)}
    for directory in (EXIF_IFD, GPS_IFD):
        inner = dict(exif.get_ifd(directory))
        if INTEROPERABILITY_IFD in inner:
            inner[INTEROPERABILITY_IFD] = exif.get_ifd(INTEROPERABILITY_IFD)
        if inner:
            fields[directory] = inner
    return fields


def exif_bytes(fields: dict[int, Any], endian: str | None = None) -> bytes:
    """What `exif_fields` gave, as a file holds it; endian: "<" or ">", which makers' notes may follow."""
    exif = Image.Exif()
    exif.endian = endian
    for tag, value in fields.items():
        exif[tag] = value
    return exif.tobytes()


def _can_be_written(fields: dict[int, Any]) -> bool:
    try:
        exif_bytes(fields)
    except (struct.error, TypeError, ValueError, AttributeError):  # all of them are seen with damaged files
        return False
    return True


def has_iptc(image: Image.Image) -> bool:
    """Whether an opened JPEG or TIFF file has fields of IPTC's older kind (IIM), which Pillow does not write."""
    return _IPTC_RESOURCE in (image.info.get("photoshop") or {}) or _IPTC in getattr(image, "tag_v2", {})


def xmp_of(image: Image.Image) -> str | None:
    """The XMP packet of an opened picture, if it is UTF-8 with the prefix rdf, as nearly all are."""
    try:
        packet = (image.info.get("xmp") or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return packet if _RDF_END in packet else None


def marked_xmp(xmp: str | None) -> str:
    """An XMP packet that says that a trained model changed the picture: the photograph's own, or a new one.

    The orientation goes, since it has been applied.
    """
    packet = xmp if xmp and _RDF_END in xmp else _PACKET
    before, end, after = _REPLACED_XMP.sub("", packet).rpartition(_RDF_END)
    return f"{before}{_MARK}\n{end}{after}"
