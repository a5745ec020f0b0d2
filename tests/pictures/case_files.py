"""Photographs as trouble arrives: each made from the suite's own portrait, as a file's bytes."""

import io
import zlib

from picture_files import encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo

MOTION_XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" hdrgm:Version="1.0" GCamera:MotionPhoto="1"
 xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="A. Photographer">
<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">
<Container:Item Item:Semantic="MotionPhoto" Item:Mime="video/mp4" Item:Length="5000"/></rdf:li></rdf:Seq>
</Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""


def grey_profile(gamma: float) -> bytes:
    """A profile of grey with values that are light to the power of 1 / gamma, as ICC.1 lays it out."""
    white = b"".join(int(v * 65536).to_bytes(4) for v in (0.9642, 1.0, 0.8249))
    curve = b"curv\0\0\0\0" + (1).to_bytes(4) + int(gamma * 256).to_bytes(2) + b"\0\0"
    tags = ((b"wtpt", 156, 20), (b"kTRC", 176, len(curve)))
    table = len(tags).to_bytes(4) + b"".join(name + at.to_bytes(4) + size.to_bytes(4) for name, at, size in tags)
    header = (176 + len(curve)).to_bytes(4) + bytes(4) + b"\x02\x10\0\0" + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    return header + bytes(28) + white + bytes(48) + table + b"XYZ \0\0\0\0" + white + curve


def with_damaged_exif(portrait: Image.Image, format: str) -> bytes:
    """Garbage where EXIF should be; what writes the file need not accept it, so sound EXIF is overwritten."""
    sound = Image.Exif()
    sound[0x010F] = "x" * 40
    if format == "TIFF":  # its tags are the file's own: a directory of the camera that lies nowhere
        return encoded(portrait, format, tiffinfo={0x8769: 0x7FFFFFFF})
    if format == "HEIF":
        import pillow_heif

        buffer = io.BytesIO()
        pillow_heif.from_pillow(portrait).save(buffer, exif=sound.tobytes())
        data = buffer.getvalue()
    else:
        data = encoded(portrait, format, exif=sound.tobytes())
    start = data.index(b"x" * 40) - 26
    assert data[start : start + 2] == b"MM"
    return data[:start] + b"garbage!" + data[start + 8 :]


def with_iptc(jpeg: bytes, caption: str) -> bytes:
    """A caption (IIM 2:120) in Photoshop's segment."""
    field = b"\x1c\x02\x78" + len(caption).to_bytes(2) + caption.encode()
    resource = b"8BIM\x04\x04\0\0" + len(field).to_bytes(4) + field + b"\0" * (len(field) % 2)
    segment = b"Photoshop 3.0\0" + resource
    return jpeg[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2) + segment + jpeg[2:]


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk before its pixels."""
    chunk = len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)
    return png[:33] + chunk + png[33:]


def texts(**by_keyword: str) -> PngInfo:
    chunks = PngInfo()
    for key, text in by_keyword.items():
        chunks.add_text(key, text)
    return chunks
