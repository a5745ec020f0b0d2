"""Files that no decoder should trust: damaged pictures, small ones that grow when they are read, and other things."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Truncated, with flipped bits, or with a stretch of nonsense."""
    match rng.integers(3):
        case 0:
            return data[: rng.integers(len(data))]
        case 1:
            spoilt = bytearray(data)
            for place in rng.integers(len(data), size=rng.integers(1, 20)):
                spoilt[place] ^= 1 << rng.integers(8)
            return bytes(spoilt)
        case _:
            start = rng.integers(len(data))
            return data[:start] + rng.bytes(64) + data[start + 64 :]


def pictures(image: Image.Image) -> list[bytes]:
    """The picture as a file of each format, with EXIF and a colour profile that are none."""
    files = []
    for format in FORMATS:
        buffer = io.BytesIO()
        image.save(buffer, format, **({} if format in ("BMP", "GIF") else {"icc_profile": b"no profile" * 20}))
        files.append(buffer.getvalue())
    return files


def bombs() -> dict[str, bytes]:
    """A few kilobytes each that ask for gigabytes."""
    return {
        "3.6 gigapixels": _png(60_000, 60_000, zlib.compress(bytes(10**6))),
        "a size that the data have not": _png(5_000, 5_000, zlib.compress(b"")),
        "a text of a gigabyte": _png(24, 24, zlib.compress(bytes(24 * 4)), (b"zTXt", b"k\0\0" + _zeros(2**30))),
        "a profile of a gigabyte": _png(24, 24, zlib.compress(bytes(24 * 4)), (b"iCCP", b"p\0\0" + _zeros(2**30))),
        "a directory of itself": b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + bytes(12) + struct.pack("<I", 8),
        "65,535 tags": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 4, 2**32 - 1, 8) * 1000,
    }


def other_files() -> dict[str, bytes]:
    """What is no picture."""
    return {
        "nothing": b"",
        "text": b"Dear diary,",
        "a page": b"<html><script>alert(1)</script></html>",
        "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "a document": b"%PDF-1.7\n%%EOF",
        "an archive": b"PK\x05\x06" + bytes(18),
        "a film": b"\0\0\0\x18ftypmp42" + bytes(1000),
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file",
        "a program": b"\x7fELF" + bytes(1000),
        "a pickle": b"cos\nsystem\n(S'true'\ntR.",
        "zeros": bytes(10_000),
    }


def _zeros(count: int) -> bytes:
    """So many times 0 in zlib's format: a piece again and again, for it refers to nothing before it."""
    packer, piece = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), bytes(2**20)
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">HH", count % 65521, 1)  # Adler-32 of zeros (RFC 1950)
    return b"\x78\xda" + packed * (count // len(piece)) + packer.flush() + checksum


def _png(width: int, height: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of one bit a pixel."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), *more, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
