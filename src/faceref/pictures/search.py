"""Finding photographs among files and folders."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceref.errors import PhotoError
from faceref.pictures.formats import NAMES, PHOTO_SUFFIXES


def find_photos(paths: Iterable[str | Path]) -> list[Path]:
    """The photographs among files and folders, folders searched to the bottom and in natural order (img2 before img10).

    Hidden files are passed over in folders; of files with the same bytes the first is taken. Files named themselves are
    taken whatever their suffix. Raises PhotoError for what does not exist or cannot be read, and for a folder without
    pictures.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        check_exists(path)
        with _readable(path):
            inside = _photos_below(path) if path.is_dir() else [path]
        if not inside:
            raise PhotoError(f"has no {NAMES} pictures in it", subject=path, hint="name another folder")
        found += inside
    return _distinct(found)


def check_exists(path: Path) -> None:
    """Raises PhotoError, also for a name that the file system does not take."""
    with _readable(path):
        exists = path.exists()
    if not exists:
        raise PhotoError("does not exist", subject=path, hint="check the name")


def _distinct(paths: list[Path]) -> list[Path]:
    """The first of files with the same bytes; only files of one size are read."""
    sizes: dict[Path, int] = {}
    for path in paths:
        with _readable(path):
            sizes[path] = path.stat().st_size
    same_size = Counter(sizes[path] for path in paths)
    first: dict[object, Path] = {}
    for path in paths:
        with _readable(path):
            first.setdefault(_digest(path) if same_size[sizes[path]] > 1 else sizes[path], path)
    return list(first.values())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into a PhotoError."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise PhotoError(reason, subject=error.filename or path, hint="check its name and permissions") from None


def _photos_below(folder: Path) -> list[Path]:
    inside = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PHOTO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(inside, key=lambda path: _natural(str(path)))


def _natural(name: str) -> list[tuple[int, str]]:
    """A sorting key by which img2 comes before img10: text and numbers by turns."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
