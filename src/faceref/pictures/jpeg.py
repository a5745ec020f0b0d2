"""A JPEG's scans: a progressive file may have so many that decoding it takes minutes, and is refused before."""

import re

from faceref.errors import PhotoError

JPEG = ("JPEG", "MPO")  # Pillow's names; MPO: that of many cameras, with previews behind it
MOST_SCANS = 100  # programs write 10 for colours, 6 for grey, and no more than 64 where they look for the smallest file
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# ITU-T T.81, B.1.1.2: in compressed data 0xFF is followed by 0, a restart marker, or another 0xFF to fill up. Those,
# and 1 and 0xD8, are of no segment that has a length.
_NEXT_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def check_scans(jpeg: bytes, name: str) -> None:
    """Raises PhotoError if the file `name` has more than MOST_SCANS scans; each takes as long as a whole picture."""
    if jpeg.count(_START_OF_SCAN) > MOST_SCANS and (scans := count_scans(jpeg)) > MOST_SCANS:
        reason = f"is a JPEG of {scans} scans; more than {MOST_SCANS} are not read, since each takes its time"
        raise PhotoError(reason, subject=name, hint="save it again with another program")


def count_scans(jpeg: bytes) -> int:
    """How many scans the first picture of a file has; those of previews in its header or behind it do not count."""
    scans, position = 0, 2
    while (marker := _NEXT_SEGMENT.search(jpeg, position)) and marker[0] != _END_OF_IMAGE:
        scans += marker[0] == _START_OF_SCAN
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2])  # of the segment, these two bytes included
        position = marker.end() + length
    return scans
