"""XMP: the photograph's packet without what points to things that a result has not, and our own mark in it.

A picture is ours if its packet says so in our own namespace. IPTC's digital source type, which other programs write as
well, says to everybody that a trained model changed the picture.
"""

import re
from collections.abc import Iterator, Sequence
from xml.dom import Node, minidom
from xml.parsers.expat import ExpatError

# Made by a camera, then changed by a trained model (IPTC, Digital Source Type vocabulary)
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
OWN_NAMESPACE, _OWN_PROPERTY = "urn:faceref:1.0/", "Restored"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OWN = {(OWN_NAMESPACE, _OWN_PROPERTY)}
_REPLACED = {(_IPTC, "DigitalSourceType")} | _OWN  # by the mark
_WIDE = {b"<\0": "utf-16-le", b"\xff\xfe": "utf-16-le", b"\0<": "utf-16-be", b"\xfe\xff": "utf-16-be"}  # beginnings
_APPLIED = {("http://ns.adobe.com/tiff/1.0/", "Orientation")}
_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">
<rdf:Description rdf:about="" xmlns:xmp="{_XMP}" xmp:CreatorTool="faceref"/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
# Namespaces of what lies elsewhere in the photograph's file (behind the picture, in other segments) -> what that is
_ELSEWHERE = {
    "http://ns.google.com/photos/1.0/camera/": "a motion photo",
    "http://ns.google.com/photos/1.0/container/": "parts behind the picture",
    "http://ns.google.com/photos/1.0/container/item/": "parts behind the picture",
    "http://ns.google.com/photos/dd/1.0/": "parts behind the picture",
    "http://ns.oplus.com/photos/1.0/camera/": "a motion photo",
    "http://ns.xiaomi.com/photos/1.0/camera/": "a motion photo",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "a gain map",
    "http://ns.apple.com/HDRGainMap/1.0/": "a gain map",
    "http://ns.apple.com/pixeldatainfo/1.0/": "a gain map",
    "http://ns.google.com/photos/1.0/depthmap/": "a depth map",
    "http://ns.google.com/photos/1.0/focus/": "a depth map",
    "http://ns.google.com/photos/1.0/image/": "a second picture",
    "http://ns.google.com/photos/1.0/audio/": "sound",
    "http://ns.adobe.com/xmp/note/": "more XMP than fits one segment",
    "http://ns.adobe.com/xap/1.0/g/img/": "a preview",
}


def clean_xmp(packet: bytes | None) -> tuple[str | None, tuple[str, ...]]:
    """A photograph's packet without its orientation, which is applied, and without what is not there any more.

    Beside it: what that was, as in "a gain map". The packet is None if there is none or if it is not XML as XMP is.
    """
    document = _parse(packet)
    if document is None:
        return None, ()
    gone: set[str] = set()
    untrue = []
    for owner, node in _properties(document):
        elsewhere = _what_lies_elsewhere(node)
        if elsewhere or (node.namespaceURI, node.localName) in _APPLIED:
            untrue.append((owner, node))
            gone |= {elsewhere} if elsewhere else set()
    _remove(untrue)
    return _text(document), tuple(sorted(gone))


def marked_xmp(xmp: str | None, generated: bool = True) -> str:
    """An XMP packet that says that the picture is ours: `xmp`, or a new one.

    generated: and that a trained model changed it.
    """
    document = _parse(xmp.encode() if xmp else None) or minidom.parseString(_PACKET.encode())
    replaced = _REPLACED if generated else _OWN
    _remove([(owner, node) for owner, node in _properties(document) if (node.namespaceURI, node.localName) in replaced])
    root = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    mark = document.createElementNS(_RDF, f"{root.prefix}:Description" if root.prefix else "Description")
    for prefix, namespace in (("Iptc4xmpExt", _IPTC), ("faceref", OWN_NAMESPACE)):
        mark.setAttributeNS(_XMLNS, f"xmlns:{prefix}", namespace)
    if root.prefix:
        mark.setAttributeNS(_RDF, f"{root.prefix}:about", "")
    if generated:
        mark.setAttributeNS(_IPTC, "Iptc4xmpExt:DigitalSourceType", DIGITAL_SOURCE_TYPE)
    mark.setAttributeNS(OWN_NAMESPACE, f"faceref:{_OWN_PROPERTY}", "True")
    root.appendChild(mark)
    return _text(document)


def is_marked(packet: bytes | None) -> bool:
    """Whether a packet carries our own mark, in today's form or in that of faceref 0.1."""
    document = _parse(packet)
    return document is not None and any(
        (node.namespaceURI, node.localName) == (OWN_NAMESPACE, _OWN_PROPERTY)
        or ((node.namespaceURI, node.localName) == (_XMP, "CreatorTool") and _value(node) == "faceref")
        for _, node in _properties(document)
    )


def _parse(packet: bytes | None) -> minidom.Document | None:
    """None for what is no XMP, and for XML with a document type, which XMP has not and whose entities may explode."""
    packet = _as_utf8(packet or b"")
    if not packet or b"<!DOCTYPE" in packet:
        return None
    try:
        document = minidom.parseString(packet)
        document.toxml()
    except (ExpatError, ValueError, LookupError, RecursionError):  # an encoding nobody knows; a thousand elements deep
        return None
    return document if document.getElementsByTagNameNS(_RDF, "RDF") else None


def _as_utf8(packet: bytes) -> bytes:
    """A packet of UTF-16 in UTF-8, where XML's own signs are found as bytes; others as they are."""
    encoding = _WIDE.get(packet[:2])
    if encoding is None:
        return packet.rstrip(b"\0")
    text = packet.decode(encoding, errors="replace").strip("\ufeff\0")
    return re.sub(r"^<\?xml\b[^>]*\?>", "", text).encode()


def _text(document: minidom.Document) -> str:
    """Without XML's declaration: a packet has its own first line."""
    return "".join(node.toxml() for node in document.childNodes)


def _properties(document: minidom.Document) -> Iterator[tuple[minidom.Element, minidom.Element | minidom.Attr]]:
    """All elements and attributes, declarations of namespaces included, each with the element that it is in."""
    for element in document.getElementsByTagName("*"):
        parent = element.parentNode
        if parent is not None and parent.nodeType == Node.ELEMENT_NODE:
            yield parent, element  # type: ignore[misc]
        yield from ((element, attribute) for attribute in list(element.attributes.values()))


def _remove(properties: Sequence[tuple[minidom.Element, minidom.Element | minidom.Attr]]) -> None:
    """Take them out of their owners, each of which is gone through once, however many are in it."""
    elements = {id(node) for _, node in properties if isinstance(node, minidom.Element)}
    for owner in {id(owner): owner for owner, _ in properties}.values():
        owner.childNodes[:] = [child for child in owner.childNodes if id(child) not in elements]
    for owner, node in properties:
        if isinstance(node, minidom.Attr):
            owner.removeAttributeNode(node)


def _value(node: minidom.Element | minidom.Attr) -> str:
    return node.nodeValue or "".join(child.toxml() for child in node.childNodes).strip()


def _what_lies_elsewhere(node: minidom.Element | minidom.Attr) -> str | None:
    """What a property, or the declaration of a namespace, is about that the result's file has not."""
    if (node.namespaceURI, node.localName) == (_XMP, "Thumbnails"):
        return "a preview"
    declared = isinstance(node, minidom.Attr) and node.namespaceURI == _XMLNS
    namespace = (node.nodeValue if declared else node.namespaceURI) or ""
    return next((what for start, what in _ELSEWHERE.items() if namespace.startswith(start)), None)
