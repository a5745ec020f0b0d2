"""Which files are copies of each other: a reference that is one of its target gives away what is to be restored."""

from hashlib import sha256
from pathlib import Path

from faceref.files import stamp_of


class Copies:
    """Compares files by their bytes; only those of which another has the size are read, and each once."""

    def __init__(self) -> None:
        self._sizes: dict[Path, int | None] = {}
        self._digests: dict[Path, bytes] = {}

    def are_same(self, one: Path, other: Path) -> bool:
        """Whether both names are of one file, or of two with the same bytes. A file that is not there is no copy."""
        if one == other:
            return True
        size = self._size(one)
        return size is not None and size == self._size(other) and self._digest(one) == self._digest(other)

    def _size(self, path: Path) -> int | None:
        if path not in self._sizes:
            stamp = stamp_of(path)
            self._sizes[path] = stamp and stamp[0]
        return self._sizes[path]

    def _digest(self, path: Path) -> bytes:
        if path not in self._digests:
            try:
                self._digests[path] = sha256(path.read_bytes()).digest()
            except OSError:  # it is called damaged when it is decoded
                self._digests[path] = str(path).encode()
        return self._digests[path]
