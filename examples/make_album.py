"""Makes an invented family to try albums with: a group photograph, and an album of two of the three who are on it.

    python examples/make_album.py out/family

NASA's portrait of Eileen Collins (scikit-image carries it) and two people who do not exist: the portrait with other
proportions, so that dlib's recogniser takes them for somebody else (distances of about 0.6). Each photograph of the
album has its own light and stands a little aslant; the group photograph is older: blurred, small, noisy, compressed. It
shows that each face is given its own person's photographs, not how well that works for real albums: docs/people.md says
that.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image, ImageEnhance, ImageOps
from scipy.interpolate import RBFInterpolator

from faceref.data.degradation import Degradation, degrade
from faceref.faces.dlib_detector import DlibDetector

# Of the 68 landmarks; those of a pair lie mirrored
JAW, BROWS, NOSE, EYES, MOUTH = (0, 17), ((17, 22), (22, 27)), (27, 36), ((36, 42), (42, 48)), (48, 68)
SIDE = 540  # pixels of a portrait
OLD = Degradation(sigma_x=1.5, sigma_y=1.5, angle=0, downsample=2, noise=5, quality=70, kernel_size=21)


@dataclass(frozen=True)
class Move:
    """How a part of the face is moved: pixels to the right (of a pair: away from the nose) and down, then scaled."""

    right: float
    down: float
    wide: float
    high: float


@dataclass(frozen=True)
class Looks:
    """Somebody's proportions beside those of the portrait, and the colour of their photographs (gains, gamma)."""

    jaw: Move
    brows: Move
    nose: Move
    eyes: Move
    mouth: Move
    gains: tuple[float, float, float] = (1, 1, 1)
    gamma: float = 1


# Found among random moves: far from the portrait and from each other for the recogniser, and nothing of a caricature.
RUTH = Looks(
    jaw=Move(0, -1, 1.06, 1.11),
    brows=Move(-6, 4, 1.06, 1),
    nose=Move(0, 1, 1.09, 0.89),
    eyes=Move(-6, 1, 1.14, 1.04),
    mouth=Move(0, 12, 1.06, 1.03),
    gains=(1, 0.9, 0.8),
    gamma=1.5,
)
NORA = Looks(
    jaw=Move(0, 2, 1.17, 0.98),
    brows=Move(-7, 4, 1.06, 1),
    nose=Move(0, 4, 1.07, 1.1),
    eyes=Move(-7, -2, 0.87, 1.01),
    mouth=Move(0, -3, 0.87, 0.96),
    gains=(0.92, 0.97, 1.05),
    gamma=0.85,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    eileen = Image.fromarray(skimage.data.astronaut()).crop((90, 0, 360, 270)).resize((SIDE, SIDE), Image.LANCZOS)
    landmarks = DlibDetector().detect(eileen)[0].landmarks
    ruth, nora = (looking_like(eileen, landmarks, looks) for looks in (RUTH, NORA))
    (folder / "album").mkdir(parents=True, exist_ok=True)
    for name, portrait in (("eileen", eileen), ("ruth", ruth)):
        for number, photograph in enumerate(photographs(portrait), start=1):
            photograph.save(folder / "album" / f"{name}{number}.jpg", quality=90)
    group = Image.new("RGB", (3 * SIDE, SIDE))
    for place, portrait in enumerate((ruth, eileen, nora)):
        group.paste(portrait, (place * SIDE, 0))
    degrade(group.resize((720, 240), Image.LANCZOS), OLD, np.random.default_rng(0)).save(folder / "group.png")


def looking_like(portrait: Image.Image, landmarks: np.ndarray, looks: Looks) -> Image.Image:
    """The portrait bent to somebody's proportions by a thin plate spline, in their colours."""
    bent = landmarks.astype(float)
    middle = bent[:, 0].mean()
    for move, parts in (
        (looks.jaw, (JAW,)),
        (looks.brows, BROWS),
        (looks.nose, (NOSE,)),
        (looks.eyes, EYES),
        (looks.mouth, (MOUTH,)),
    ):
        for part in parts:
            points = bent[slice(*part)]
            centre = points.mean(0)
            outwards = np.sign(centre[0] - middle) if len(parts) == 2 else 1
            points[:] = centre + (points - centre) * (move.wide, move.high) + (outwards * move.right, move.down)
    edge = np.linspace(0, SIDE, 6)
    border = np.array([(x, y) for x in edge for y in edge if {x, y} & {0, SIDE}])  # stays where it is
    back = RBFInterpolator(
        np.concatenate([bent, border]),
        np.concatenate([landmarks - bent, np.zeros_like(border)]),
        kernel="thin_plate_spline",
        smoothing=1,
    )
    coarse = np.mgrid[:SIDE:4, :SIDE:4][::-1].reshape(2, -1).T  # x, y
    moves = back(coarse).reshape(SIDE // 4, SIDE // 4, 2).astype(np.float32)
    moves = cv2.resize(moves, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    pixels = cv2.remap(
        np.asarray(portrait), x + moves[..., 0], y + moves[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    light = (pixels / 255) ** looks.gamma * looks.gains
    return Image.fromarray(np.rint(255 * light.clip(0, 1)).astype(np.uint8))


def photographs(portrait: Image.Image) -> list[Image.Image]:
    """Three of somebody, mirrored, so that none is a copy of the one in the group photograph."""
    mirrored = ImageOps.mirror(portrait)
    return [
        mirrored,
        ImageEnhance.Brightness(mirrored).enhance(1.15).rotate(6, Image.Resampling.BICUBIC).crop((60, 20, 480, 440)),
        ImageEnhance.Contrast(mirrored).enhance(0.8).rotate(-5, Image.Resampling.BICUBIC).crop((70, 30, 470, 430)),
    ]


if __name__ == "__main__":
    main()
