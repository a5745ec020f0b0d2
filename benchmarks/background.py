"""Making a whole picture larger: seconds and memory at a size, and how much the seams of the tiles are seen.

    python benchmarks/background.py memory --megapixels 12 --scale 2
    python benchmarks/background.py seams

memory: a picture of noise through the tiles with a network that has Real-ESRGAN's tiles and factor but hardly computes
anything; printed is the highest resident memory above what the process had before. seams: a crop of NASA's portrait of
Eileen Collins (scikit-image), 160x160 pixels of her suit, by Real-ESRGAN whole and in tiles of 54 pixels with each
overlap: by how many levels they differ, in all and in the four pixels beside a seam.
"""

import argparse
import resource
import time

import numpy as np
import skimage.data
from PIL import Image

from faceref.models.upscaler import Upscaler, load_realesrgan
from faceref.pictures.tiles import enlarge_in_tiles

OVERLAPS = (8, 16, 24, 32, 48)
BESIDE = 16  # pixels of the enlarged picture: four of the photograph's


def peak() -> float:
    """The highest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(megapixels: float, scale: int) -> None:
    width, height = round((megapixels * 4 / 3) ** 0.5 * 1000), round((megapixels * 3 / 4) ** 0.5 * 1000)
    upscaler = Upscaler("repeat", 4, lambda pixels: pixels.repeat(4, 0).repeat(4, 1))
    photo = Image.effect_noise((width, height), 50).convert("RGB")
    before, start = peak(), time.perf_counter()
    larger = enlarge_in_tiles(
        photo, upscaler.enlarge, upscaler.factor, scale, tile=upscaler.tile, overlap=upscaler.overlap
    )
    seconds = time.perf_counter() - start
    own = larger.width * larger.height * 4 / 2**20
    print(
        f"{photo.width}x{photo.height} -> {larger.width}x{larger.height} in {seconds:.1f} s: {peak() - before:.0f} MB"
    )
    print(f"of them the picture itself: {own:.0f} MB")


def seams() -> None:
    crop = Image.fromarray(skimage.data.astronaut()).crop((60, 300, 220, 460))
    enlarge = load_realesrgan().enlarge
    whole = np.asarray(enlarge_in_tiles(crop, enlarge, 4, 4, tile=160, overlap=0), dtype=int)
    print(f"whole: {peak():.0f} MB")
    for overlap in OVERLAPS:
        tiled = np.asarray(enlarge_in_tiles(crop, enlarge, 4, 4, tile=64, overlap=overlap), dtype=int)
        difference = np.abs(tiled - whole)
        edges = np.linspace(0, 160, 4).round().astype(int)[1:-1] * 4
        beside = np.abs(np.arange(640)[:, None] - edges).min(1) < BESIDE
        at_seam = difference[beside[:, None] | beside]
        print(
            f"overlap {overlap}: mean {difference.mean():.2f}, at seams {at_seam.mean():.2f}, largest {at_seam.max()}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("memory", "seams"))
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--scale", type=int, choices=(2, 4), default=2)
    settings = parser.parse_args()
    seams() if settings.what == "seams" else memory(settings.megapixels, settings.scale)


if __name__ == "__main__":
    main()
