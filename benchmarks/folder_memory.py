"""Memory while a folder of many photographs is restored: it should not grow with their number.

    python benchmarks/folder_memory.py --photographs 1000 --work runs/folder_memory

The photographs are crops of NASA's portrait of Eileen Collins (scikit-image), each cut, turned and compressed in its
own way (seed 0), so that no two files are alike; one in ten shows no face. They are restored by `restore_folder` in
this process with `small`, without references. memory.csv has the resident memory after every tenth photograph; what is
printed is the mean of each tenth of the run, without its first photographs, and how the second half grew.
"""

import argparse
import csv
import gc
from pathlib import Path

import numpy as np
import psutil
import skimage.data
from PIL import Image

from faceref.restore.folder import restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request

EVERY = 10  # photographs between two measurements


def make_photographs(folder: Path, count: int) -> None:
    """Write `count` JPEGs of 128 to 192 pixels; those that are there stay."""
    portrait = Image.fromarray(skimage.data.astronaut())
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"{i:05d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng(i)
        has_face = i % 10 != 9  # the others show the suit
        left, top = rng.integers((80, 0) if has_face else (0, 256), (121, 21) if has_face else (61, 263))
        side = int(rng.integers(128, 193))
        crop = portrait.rotate(float(rng.uniform(-5, 5)), Image.Resampling.BICUBIC)
        crop = crop.crop((left, top, left + 250, top + 250)).resize((side, side), Image.Resampling.LANCZOS)
        crop.save(path, quality=int(rng.integers(60, 96)))


def measure(photos: Path, out: Path) -> list[tuple[int, float]]:
    """(photographs done, MB of resident memory) while the folder is restored."""
    process = psutil.Process()
    measured: list[tuple[int, float]] = []
    request = Request("small", options=RestoreOptions(always=True))
    for done, _ in enumerate(restore_folder(photos, out, request, again=True), 1):
        if done % EVERY == 0:
            gc.collect()
            measured.append((done, process.memory_info().rss / 2**20))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=Path("runs/folder_memory"))
    settings = parser.parse_args()
    photos = settings.work / f"photos_{settings.photographs}"
    make_photographs(photos, settings.photographs)
    measured = measure(photos, settings.work / f"out_{settings.photographs}")
    with (settings.work / "memory.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("photographs", "MB"), *measured])
    for part in np.array_split(np.array(measured), min(10, len(measured))):
        print(f"{part[0, 0]:6.0f} to {part[-1, 0]:6.0f} photographs: {part[:, 1].mean():7.1f} MB")
    later = np.array(measured)[len(measured) // 2 :]
    if len(later) > 1:
        slope = np.polyfit(later[:, 0], later[:, 1], 1)[0]
        print(f"growth in the second half: {1000 * slope:.1f} MB for 1,000 photographs")


if __name__ == "__main__":
    main()
