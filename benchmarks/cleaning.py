"""What `--background clean` makes of bad photographs: the table of docs/background.md.

    python benchmarks/cleaning.py                                   # four photographs that scikit-image brings
    python benchmarks/cleaning.py DATA/celebref9-512/people         # three of each person

Each is made worse in one way, cleaned, and compared with itself: PSNR in dB, with the 95 % interval of the gain where
the folder shows people, and the worst photograph. Beside it OpenCV's non-local means (Buades et al. 2011), which is
told how strong the noise is, and JPEG's rounding taken for noise of 5 levels. None of the photographs was trained on.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from noisy import OF_EACH_PERSON, with_noise
from PIL import Image, ImageChops, ImageFilter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from strength import photographs, psnr_of

from faceref.data.degradation import Degradation, degrade
from faceref.data.lq_set import seed_for
from faceref.evaluation.statistics import estimate_mean
from faceref.models.cleaner import load_cleaner
from faceref.models.upscaler import Upscaler
from faceref.pictures.tiles import enlarge_in_tiles

BROUGHT = ("astronaut", "coffee", "chelsea", "rocket")
JPEG_AS_NOISE = 5.0  # levels
Worse = Callable[[Image.Image, np.random.Generator], Image.Image]


def compressed(quality: int, x: int = 0, y: int = 0) -> Worse:
    """JPEG of that quality, its blocks beginning at (x, y), as they do in a photograph that was cropped since."""

    def worse(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        cropped = degrade(ImageChops.offset(picture, -x, -y), Degradation(0, 0, 0, 1, 0, quality, 1), rng)
        return ImageChops.offset(cropped, x, y)

    return worse


def noisy(deviation: float, pixel: int = 1) -> Worse:
    """Noise of so many levels, drawn on every pixel or on larger ones."""
    return lambda picture, rng: with_noise(picture, deviation, pixel, rng)


def blurred(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def untouched(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture


def all_of_it(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return compressed(50)(noisy(12)(blurred(picture, rng), rng), rng)


# what it is called, what makes photographs worse, and how much noise non-local means is told of
WAYS: dict[str, tuple[Worse, float]] = {
    "noise 10": (noisy(10), 10),
    "noise 25": (noisy(25), 25),
    "noise 50": (noisy(50), 50),
    "noise 25, three pixels wide": (noisy(25, 3), 25),
    "JPEG 60": (compressed(60), JPEG_AS_NOISE),
    "JPEG 30": (compressed(30), JPEG_AS_NOISE),
    "JPEG 10": (compressed(10), JPEG_AS_NOISE),
    "JPEG 10, then cropped": (compressed(10, 3, 5), JPEG_AS_NOISE),
    "blur 1.2": (blurred, 0),
    "blur 1.2, noise 12, JPEG 50": (all_of_it, 12),
    "untouched": (untouched, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folders of people")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    truths = brought() if given.folder is None else of_people(given.folder, given.seed)
    cleaner, megapixels, seconds = load_cleaner("cpu"), 0.0, 0.0
    table = Table("made worse by", "input", "non-local means", "clean", "gain", "worst gain")
    for name, (worse, deviation) in WAYS.items():
        rows, owners = [], []
        for path, truth in track(truths.items(), description=name):
            bad = worse(truth, np.random.default_rng(seed_for(given.seed, path, name)))
            begun = time.perf_counter()
            cleaned = clean(bad, cleaner)
            seconds += time.perf_counter() - begun
            megapixels += truth.width * truth.height / 1e6
            rows.append([psnr(one, truth) for one in (bad, non_local_means(bad, deviation), cleaned)])
            owners.append(path.rpartition("/")[0])
        values = np.array(rows)
        table.add_row(name, *told(values, owners))
    Console(width=140).print(table)
    print(f"{seconds / megapixels:.2f} s a megapixel on {torch.get_num_threads()} threads")


def told(values: np.ndarray, owners: list[str]) -> list[str]:
    """The cells of PSNR [N, 3] of input, non-local means and clean; owners: whose photograph each is."""
    gains = values[:, 2] - values[:, 0]
    gain = f"{gains.mean():+.2f}"
    if any(owners):
        estimate = estimate_mean(gains, np.array(owners), seed=0)
        gain += f" [{estimate.low:+.2f}, {estimate.high:+.2f}]"
    return [*(f"{mean:.2f}" for mean in values.mean(0)), gain, f"{gains.min():+.2f}"]


def brought() -> dict[str, Image.Image]:
    return {name: Image.fromarray(getattr(skimage.data, name)()) for name in BROUGHT}


def of_people(folder: Path, seed: int) -> dict[str, Image.Image]:
    chosen: dict[str, list[Path]] = {}
    for path, _ in photographs(folder, None, 1000, seed):
        chosen.setdefault(path.parent.name, []).append(path)
    paths = [path for own in chosen.values() for path in own[:OF_EACH_PERSON]]
    return {f"{path.parent.name}/{path.name}": Image.open(path).convert("RGB") for path in paths}


def clean(picture: Image.Image, cleaner: Upscaler) -> Image.Image:
    return enlarge_in_tiles(
        picture, cleaner.enlarge, 1, 1, tile=cleaner.tile, overlap=cleaner.overlap, multiple=cleaner.multiple
    )


def non_local_means(picture: Image.Image, deviation: float) -> Image.Image:
    if not deviation:
        return picture
    return Image.fromarray(cv2.fastNlMeansDenoisingColored(np.asarray(picture), None, deviation, deviation, 7, 21))


def psnr(picture: Image.Image, truth: Image.Image) -> float:
    return psnr_of(np.asarray(picture), np.asarray(truth))


if __name__ == "__main__":
    main()
