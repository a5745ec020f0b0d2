"""How soon `faceref restore` begins where the album is known: from typing the command to the first photograph.

    python benchmarks/album_start.py --photographs 1000 --work runs/album_start
    python benchmarks/album_start.py --photographs 20000 --work runs/album_start

The album: small JPEGs made from NASA's portrait, each of other bytes. What would be seen in them is not looked for, as
that takes hours: the index is filled with synthetic faces, which lie as dlib's embeddings do (benchmarks/identities.py;
seven photographs of each person). Then the command is run on a picture without a face, so that it ends when it would
begin to restore: with the album, and with one photograph as the reference. What the album's part of it takes is
measured once more in this process: telling its files, reading the index, grouping.
"""

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from folder_memory import make_photographs
from identities import synthetic_faces
from PIL import Image

from faceref.faces.detect import Face, load_detector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.people.album import read_album, seen_by
from faceref.people.album_index import AlbumIndex, Stamp
from faceref.people.album_people import people_of
from faceref.people.seen import Seen, SeenFace
from faceref.people.traits import Traits

MADE = 50  # photographs; the album's are copies of them, each with other bytes behind
OF_EACH = 7  # photographs of one person
TRAITS = Traits(score=0.8, yaw=0.0, pitch=0.6, exposure=0.7, eyes=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=Path("runs/album_start"))
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    album, data = (arguments.work / f"{what}_{arguments.photographs}" for what in ("album", "data"))
    if not data.exists():  # a new one
        shutil.rmtree(album, ignore_errors=True)
        make_album(album, arguments.photographs, arguments.work / "made")
        fill_index(album, data)
    photo, good = arguments.work / "grey.png", arguments.work / "made" / "00000.jpg"
    Image.new("RGB", (64, 64), "gray").save(photo)
    print(f"{arguments.photographs} photographs, load of the machine {os.getloadavg()[0]:.1f}, the best of each:")
    for name, references in (("with one photograph", good), ("with the album", album)):
        runs = [run(photo, references, data) for _ in range(arguments.runs)]
        wall, cpu = (min(values) for values in zip(*runs, strict=True))
        print(f"{name:20} {wall:5.2f} s, of the processor {cpu:5.2f} s")
    parts = [album_part(album, data) for _ in range(arguments.runs)]
    read, grouped = (min(values) for values in zip(*parts, strict=True))
    print(f"of the processor: the index {read:.2f} s, grouping {grouped:.2f} s")


def make_album(album: Path, count: int, made: Path) -> None:
    make_photographs(made, MADE)
    sources = sorted(made.glob("*.jpg"))[:MADE]
    album.mkdir(parents=True)
    for i in range(count):
        (album / f"{i:05d}.jpg").write_bytes(sources[i % MADE].read_bytes() + i.to_bytes(4, "big"))


def fill_index(album: Path, data: Path) -> None:
    """One synthetic face for each photograph."""
    paths = sorted(album.iterdir())
    vectors, _ = synthetic_faces(-(-len(paths) // OF_EACH), OF_EACH)
    index, looked_at_by = AlbumIndex(data), seen_by(load_detector(), TorchDlibRecogniser())
    for path, embedding in zip(paths, vectors[: len(paths)], strict=True):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        place = Face((30.0, 30.0, 90.0, 90.0), np.zeros((68, 2), np.float32), 1.0, "synthetic")
        face = SeenFace(place, embedding, embedding, TRAITS.score, 100.0, True, TRAITS)
        index.remember(path, Stamp.of(path), digest, Seen(digest, faces=(face,)), looked_at_by)


def album_part(album: Path, data: Path) -> tuple[float, float]:
    """Seconds of the processor to know what is in the album, and to group it into people."""
    detector, recogniser, index = load_detector(), TorchDlibRecogniser(), AlbumIndex(data)
    start = time.process_time()
    seen = read_album([album], detector, recogniser, index)
    read = time.process_time()
    people_of(seen)
    return read - start, time.process_time() - read


def run(photo: Path, references: Path, data: Path) -> tuple[float, float]:
    """Seconds until the command has found that there is nothing to restore, and the processor's."""
    command = [sys.executable, "-m", "faceref", "restore", photo, "--ref", references, "--data-dir", data]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if "No face was found" not in ended.stderr:
        raise SystemExit(ended.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
