"""Finding photographs among files and folders."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceref.errors import PhotoError
from faceref.pictures.formats import NAMES, PHOTO_SUFFIXES


def find_photos(paths: Iterable[str | Path]) -> list[Path]:
    """As `list_photos`; of files with the same bytes the first is taken."""
    return distinct(list_photos(paths))


def list_photos(paths: Iterable[str | Path]) -> list[Path]:
    """The photographs among files and folders, folders searched to the bottom and in natural order (img2 before img10).

    Hidden files are passed over in folders; files named themselves are taken whatever their suffix. Raises PhotoError
    for what does not exist or cannot be read, and for a folder without pictures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        check_exists(path)
        with _readable(path):
            inside = photos_below(path) if path.is_dir() else [path]
        if not inside:
            raise PhotoError(f"has no {NAMES} pictures in it", subject=path, hint="name another folder")
        found += inside
    return found


def photos_below(folder: Path, suffixes: Collection[str] = PHOTO_SUFFIXES) -> list[Path]:
    """All photographs in a folder, copies as well, to the bottom and in natural order; hidden ones are passed over.

    Links are followed, and each folder is searched once; a link to a photograph that is gone is named too. suffixes: of
    other files than photographs. Raises PhotoError if a folder cannot be read.
    """
    with _readable(folder):
        inside = [path for path in _files_below(folder) if path.suffix.lower() in suffixes]
    return sorted(inside, key=lambda path: _natural(str(path)))


def count_others_below(folder: Path) -> int:
    """How many files in a folder `photos_below` passes over for their suffixes. Raises PhotoError as it does."""
    with _readable(folder):
        return sum(path.suffix.lower() not in PHOTO_SUFFIXES for path in _files_below(folder))


def photo_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises PhotoError if it cannot be read."""
    with _readable(path):
        return _digest(path).hex()


def check_exists(path: Path) -> None:
    """Raises PhotoError, also for a name that the file system does not take, and for what may never end."""
    with _readable(path):
        exists, is_endless = path.exists(), not (path.is_file() or path.is_dir())
    if not exists:
        raise PhotoError("does not exist", subject=path, hint="check the name")
    if is_endless:
        raise PhotoError("is a pipe or a device", subject=path, hint="save the photograph to a file first")


def distinct(paths: Iterable[Path]) -> list[Path]:
    """The first of files with the same bytes; only files of one size are read. Raises PhotoError."""
    sizes: dict[Path, int | None] = {}
    for path in paths:
        with _readable(path):
            sizes[path] = path.stat().st_size if path.exists() else None
    same_size = Counter(sizes.values())
    first: dict[object, Path] = {}
    for path, size in sizes.items():
        key: object = path if size is None else size  # of a link to nothing no bytes are known
        if size is not None and same_size[size] > 1:
            with _readable(path):
                key = _digest(path)
        first.setdefault(key, path)
    return list(first.values())


def unreadable(path: str | Path, error: OSError) -> PhotoError:
    """What the system refused, as a PhotoError about `path`."""
    match error:
        case FileNotFoundError():  # a link to nothing, too
            return PhotoError("does not exist", subject=path, hint="check the name")
        case IsADirectoryError():
            return PhotoError("is a folder", subject=path, hint="name a photograph in it")
    return PhotoError(f"cannot be read ({error.strerror})", subject=path, hint="check its name and permissions")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into a PhotoError."""
    try:
        yield
    except OSError as error:
        raise unreadable(error.filename or path, error) from None


def _files_below(folder: Path) -> Iterator[Path]:
    """Regular files and links to nothing, but for hidden ones; raises OSError."""
    searched: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        status = os.stat(parent)
        known = (status.st_dev, status.st_ino) in searched  # a link led here
        searched.add((status.st_dev, status.st_ino))
        folders[:] = [] if known else sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in files if not name.startswith(".") and not known)
        yield from (path for path in paths if path.is_file() or not path.exists())


def _refuse(error: OSError) -> None:
    raise error


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key by which img2 comes before img10: text and numbers by turns."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
