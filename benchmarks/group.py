"""How much longer a group photograph with 8 faces takes than one with a single face.

    python benchmarks/group.py data/pins256

Faces of a folder with an index (`faceref data align`) are made small and poor and put side by side into a photograph of
one size, the places left over filled by the background; each is restored, without references and with five of its
person's own. The model is loaded, and a photograph was restored before. Seconds of the clock and of the processors,
medians of the rounds in which each photograph had its turn, and how its stages share them. On one thread, the clock
tells nothing where something else runs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table

from faceref.allocator import keep_freed_memory
from faceref.data.table import read_table
from faceref.people.person import Person
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

SIDE, ROWS, COLUMNS, REFERENCES = 256, 2, 4, 5
POOR = SIDE // 4  # pixels that are left of a face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, nargs="+", default=(1, ROWS * COLUMNS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    keep_freed_memory()
    restorer, options = Restorer.from_pretrained("small"), RestoreOptions(always=True, unknown="blind")
    of = list(photographs(given.folder, max(given.faces)).values())
    people = [restorer.person(paths[1 : 1 + REFERENCES], RestoreOptions(aligned=True)) for paths in of]
    photos = {count: group([paths[0] for paths in of[:count]]) for count in given.faces}
    table = Table("faces", "references", "restored", "s", "ratio", "CPU s", "ratio", "the most of it")
    for known in (False, True):
        told = measured(restorer, photos, people if known else [], options, given.rounds)
        first = told[given.faces[0]]
        for count, (clock, cpu, restored, stages) in told.items():
            times = f"{clock:.2f}", f"{clock / first[0]:.1f}", f"{cpu:.2f}", f"{cpu / first[1]:.1f}"
            table.add_row(str(count), "5 each" if known else "none", str(restored), *times, stages)
    told_of = f"{os.cpu_count()} cores, {given.threads} threads, load {os.getloadavg()[0]:.0f}"
    Console(width=140).print(told_of, table)


def measured(
    restorer: Restorer, photos: dict[int, Image.Image], people: Sequence[Person], options: RestoreOptions, rounds: int
) -> dict[int, tuple[float, float, int, str]]:
    """Seconds of the clock and of the CPU, restored faces and the longest stages of each photograph."""
    seconds: dict[int, list[tuple[float, float]]] = {count: [] for count in photos}
    told: dict[int, tuple[float, float, int, str]] = {}
    for _ in range(1 + rounds):
        for count, photo in photos.items():
            start = time.perf_counter(), time.process_time()
            result = restorer.restore(photo, people[:count], options)
            seconds[count].append((time.perf_counter() - start[0], time.process_time() - start[1]))
            shares = sorted(result.timings.items(), key=lambda item: -item[1])[:4]
            whole = sum(result.timings.values())
            stages = ", ".join(f"{name} {wall / whole:.0%}" for name, wall in shares)
            clock, cpu = (statistics.median(of) for of in zip(*(seconds[count][1:] or seconds[count]), strict=True))
            told[count] = clock, cpu, len(result.faces), stages
    return told


def photographs(folder: Path, people: int) -> dict[str, list[Path]]:
    """Of each of so many people, as many as a poor one and its references."""
    of: dict[str, list[Path]] = {}
    for row in read_table(folder / "index.csv", ("file", "person")):
        of.setdefault(row["person"], []).append(folder / row["file"])
    several = {person: paths[: 1 + REFERENCES] for person, paths in of.items() if len(paths) > REFERENCES}
    return dict(list(several.items())[:people])


def group(paths: Sequence[Path]) -> Image.Image:
    """Poor faces in rows before a plain background."""
    cell = SIDE * 3 // 2
    photo = Image.new("RGB", (COLUMNS * cell, ROWS * cell), (120, 118, 112))
    for number, path in enumerate(paths):
        face = Image.open(path).convert("RGB").resize((POOR, POOR), Image.Resampling.BOX).resize((SIDE, SIDE))
        soft = Image.fromarray(np.pad(np.full((SIDE - 32, SIDE - 32), 255, np.uint8), 16))
        row, column = divmod(number, COLUMNS)
        photo.paste(face, (column * cell + cell // 6, row * cell + cell // 6), soft.filter(ImageFilter.GaussianBlur(6)))
    return photo


if __name__ == "__main__":
    main()
