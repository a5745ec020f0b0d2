"""Can the border of a restored face be seen? `python benchmarks/border.py PHOTOGRAPHS`

Every face of the photographs is restored fully (nothing is left alone) by `small` without references. In the band in
which the face fades into the photograph, and within the face, it prints what has become of the photograph's own
gradients and grain: 1.00 is as before.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.faces.align import Alignment, align
from faceref.faces.blend import Blend, warp
from faceref.faces.colour import match_color
from faceref.faces.detect import DlibDetector
from faceref.faces.grain import grain_levels
from faceref.faces.mask import MASK_SIZE, face_weights
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.pictures.photo import open_photo

GREEN = 1
SMALLEST = 40  # pixels of the aligned square


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pipeline, info = load_blind("small") or load_pipeline("small")
    detector = DlibDetector()
    changes: list[tuple[float, float]] = []
    for path in sorted(arguments.photographs.rglob("*")):
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        photo = open_photo(path).image
        for face in detector.detect(photo):
            crop = align(photo, face.landmarks, info.resolution)
            if crop.alignment.side < SMALLEST:
                continue
            generator = torch.Generator().manual_seed(arguments.seed)
            output: Any = pipeline([crop.image], generator=generator)
            after = photo.copy()
            Blend.of(
                photo,
                match_color(output.images[0], crop.image, crop.mask),
                crop,
                face.landmarks,
                strength=1.0,
                colour="keep",
                rng=np.random.default_rng(arguments.seed),
                head=True,
            ).onto(after)
            changes.append(change(photo, after, face.landmarks, crop.alignment))
    gradient, grain = np.array(changes).T
    for name, values in (("gradient in the border", gradient), ("grain in the face", grain)):
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        within = np.mean(np.abs(values - 1) < 0.1)
        print(f"{name}: median {middle:.2f}, 80 % within {low:.2f} to {high:.2f}, {within:.0%} within 10 %")
    print(f"{len(changes)} faces")


def change(before: Image.Image, after: Image.Image, landmarks: np.ndarray, alignment: Alignment) -> tuple[float, float]:
    """After as a multiple of before: the mean gradient in the border's band, the finest grain in the face."""
    low, high = np.floor(alignment.quad.min(0)).astype(int), np.ceil(alignment.quad.max(0)).astype(int)
    low, high = np.maximum(low, 0).tolist(), np.minimum(high, before.size).tolist()
    box = (low[0], low[1], high[0], high[1])
    weights = warp(face_weights(landmarks, alignment, head=True), Alignment(alignment.quad, MASK_SIZE), box)
    border, face = (weights[..., 0] > 0.02) & (weights[..., 0] < 0.9), weights[..., 1] > 0.6
    old, new = (np.asarray(picture.crop(box), dtype=np.float32) for picture in (before, after))
    gradients = [_gradient(pixels.mean(-1))[border].mean() for pixels in (old, new)]
    grain = [float(grain_levels(pixels, face)[0, 0, GREEN]) for pixels in (old, new)]
    return gradients[1] / gradients[0], (grain[1] + 0.25) / (grain[0] + 0.25)  # 0.25: rounding to whole levels


def _gradient(pixels: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(pixels, cv2.CV_32F, 1, 0), cv2.Sobel(pixels, cv2.CV_32F, 0, 1))


if __name__ == "__main__":
    main()
