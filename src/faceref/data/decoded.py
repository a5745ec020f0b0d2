"""Photographs of a data set as pixels: decoded when they are asked for and kept as memory allows, or mapped."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from faceref.errors import DataError
from faceref.files import write_atomically
from faceref.pictures.aligned import open_face
from faceref.pictures.decode import DECODER
from faceref.processes import from_main

log = logging.getLogger(__name__)

Damaged = dict[int, str]  # row -> what is wrong, beginning with the file's name
GB = 1e9


class DecodedPhotographs:
    """Photographs as uint8 [4, H, W]: RGB, and alpha as the mask, 255 inside the photograph and 0 in padding."""

    def __init__(self, paths: Sequence[Path], resolution: int, memory_gb: float, mapped: np.ndarray | None = None):
        """memory_gb: what decoded photographs may take in this process. mapped: all of them, uint8 [N, 4, H, W]."""
        self.paths, self.resolution, self.mapped = paths, resolution, mapped
        self.damaged: Damaged = {}
        self._room = int(memory_gb * GB) // (4 * resolution**2)
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> np.ndarray:
        """One photograph, not to be written to. Raises DataError if its file has been damaged since the beginning."""
        if self.mapped is not None:
            return self.mapped[row]
        photograph = self._kept.get(row)
        if photograph is None:
            photograph = decode_face(self.paths[row], self.resolution)
            if len(self._kept) < self._room:
                self._kept[row] = photograph
        return photograph

    @property
    def whole(self) -> np.ndarray:
        """The rows that are not known to be damaged."""
        return np.array([row for row in range(len(self)) if row not in self.damaged], dtype=int)

    def take(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Several photographs as a new array, uint8 [len(rows), 4, H, W]."""
        return np.stack([self[int(row)] for row in rows])

    def check(self) -> Damaged:
        """Decode each once."""
        return _damaged(self.__getitem__, len(self))


def open_photographs(
    paths: Sequence[Path], resolution: int, cache: Path | None, memory_gb: float
) -> DecodedPhotographs:
    """All photographs of a data set; it says which of them cannot be read.

    Of several processes that train together one decodes all of them once, into the folder `cache` if there is one. What
    that costs is logged. Raises OutputError if the cache cannot be written.
    """
    size = len(paths) * 4 * resolution**2 / GB
    kept = f"mapped from {cache}" if cache else f"up to {min(size, memory_gb):.2f} GB of them kept in each process"
    log.info("%d photographs at %d px: %.2f GB decoded, %s", len(paths), resolution, size, kept)
    if cache is None:
        photographs = DecodedPhotographs(paths, resolution, memory_gb)
        photographs.damaged = from_main(photographs.check)
    else:
        file, damaged = from_main(lambda: _fill(cache, paths, resolution))
        photographs = DecodedPhotographs(paths, resolution, 0, np.load(file, mmap_mode="r"))
        photographs.damaged = damaged
    return photographs


def _fill(cache: Path, paths: Sequence[Path], resolution: int) -> tuple[Path, Damaged]:
    """The file in `cache` that holds these very files, written if it is not there; rows of damaged ones are black.

    What another version of the decoder wrote is of another name.
    """
    identity = [DECODER, *((str(path), path.stat().st_mtime_ns if path.exists() else None) for path in paths)]
    file = cache / f"faces-{resolution}-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.npy"
    damaged = _read_cache(file)
    if damaged is None:
        with write_atomically(file) as partial:
            photographs = open_memmap(partial, "w+", np.uint8, (len(paths), 4, resolution, resolution))
            _take_room(partial)
            damaged = _decode_into(photographs, paths)
            if damaged:
                with write_atomically(_list_of_damaged(file)) as path:
                    path.write_text(json.dumps(damaged))
    return file, damaged


def _read_cache(file: Path) -> Damaged | None:
    """What is damaged of the photographs in a file of the cache; None if it is not there, or was cut short since."""
    try:
        np.load(file, mmap_mode="r")
        told = _list_of_damaged(file).read_text() if _list_of_damaged(file).exists() else "{}"
        return {int(row): text for row, text in json.loads(told).items()}
    except (OSError, EOFError, ValueError):
        return None


def _list_of_damaged(file: Path) -> Path:
    return file.with_suffix(".damaged.json")


def _take_room(file: Path) -> None:
    """Have room on the disk for all of a file (else OSError): a page that finds none ends the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _decode_into(photographs: np.ndarray, paths: Sequence[Path]) -> Damaged:
    def decode_row(row: int) -> None:
        photographs[row] = decode_face(paths[row], photographs.shape[-1])

    return _damaged(decode_row, len(paths))


def _damaged(read: Callable[[int], object], rows: int) -> Damaged:
    """Read all rows, in threads."""

    def problem(row: int) -> str:
        try:
            read(row)
        except DataError as error:
            return f"{error.subject} {error.reason}"
        return ""

    with ThreadPoolExecutor() as pool:
        return {row: text for row, text in enumerate(pool.map(problem, range(rows))) if text}


def decode_face(path: Path, resolution: int) -> np.ndarray:
    """One photograph as uint8 [4, H, W], resized with antialiasing if need be.

    Raises DataError if it cannot be read.
    """
    image = open_face(path).convert("RGBA")
    # colours and alpha apart: resizing RGBA as a whole would weigh the colours by alpha and lose the padding's
    colours = image.convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
    alpha = image.getchannel("A").resize((resolution, resolution), Image.Resampling.BILINEAR)
    mask = np.where(np.asarray(alpha) == 255, np.uint8(255), np.uint8(0))  # what padding has touched is padding
    # in one order whoever decodes it: convolutions round otherwise where channels are last
    return np.ascontiguousarray(np.concatenate([np.asarray(colours).transpose(2, 0, 1), mask[None]]))
