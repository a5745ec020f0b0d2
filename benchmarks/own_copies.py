"""How near a photograph is to its own copies, and to other photographs of the same person: one distance tells them.

    python benchmarks/own_copies.py data/pins256 --people 12 --photographs 12

A photograph in another size or format is known again by its face (dlib's distance below
`faceref.faces.recognise.SAME_PHOTOGRAPH_DISTANCE`), so that it does not become its own reference. FOLDER holds a folder
of photographs for each person. Of every photograph with one face the copies are found and recognised as the photograph
is. The table: how far they are, and how many a threshold would know again; below it the nearest pairs of different
photographs of one person, which a threshold must not join. Pairs of one photograph filed twice are left out: those
whose faces, shrunk to 16 x 16 grey pixels, correlate above --same.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from faceref.faces.align import align
from faceref.faces.detect import Detector, load_detector
from faceref.faces.recognise import SAME_PHOTOGRAPH_DISTANCE, DlibRecogniser, distance
from faceref.pictures.photo import open_photo

THRESHOLDS = (0.13, 0.15, 0.17, 0.19, 0.21)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def smaller(picture: Image.Image, by: float) -> Image.Image:
    size = (round(picture.width / by), round(picture.height / by))
    return picture.resize(size, Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 60": lambda picture: jpeg(picture, 60),
    "three quarters of the size": lambda picture: smaller(picture, 4 / 3),
    "half the size": lambda picture: smaller(picture, 2),
    "half the size, JPEG 75": lambda picture: jpeg(smaller(picture, 2), 75),
    "a twentieth cut off each side": lambda picture: ImageOps.crop(picture, round(0.05 * min(picture.size))),
}


@dataclass(frozen=True, eq=False)
class Known:
    """A photograph of a person: the face's embedding [128], those of its copies (None: no face, or several), a thumb
    of the face, float [256], of mean 0 and length 1."""

    embedding: np.ndarray
    copies: dict[str, np.ndarray | None]
    thumb: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--skip", type=int, default=0, help="so many people first")
    parser.add_argument("--photographs", type=int, default=12, help="of each, at the most")
    parser.add_argument("--same", type=float, default=0.97, help="correlation of one photograph filed twice")
    arguments = parser.parse_args()
    detector, recogniser = load_detector(), DlibRecogniser()
    folders = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    people: list[list[Known]] = []
    for folder in folders[arguments.skip :][: arguments.people]:
        paths = sorted(folder.iterdir())[: arguments.photographs]
        found = (look(open_photo(path).image, detector, recogniser) for path in paths)
        people.append([one for one in found if one is not None])
    photographs = [one for person in people for one in person]
    print(f"{len(photographs)} photographs of {len(people)} people; a threshold of {SAME_PHOTOGRAPH_DISTANCE} is used")
    print("| copy | median | farthest | face not found | " + " | ".join(f"below {t}" for t in THRESHOLDS) + " |")
    print("|---" * (4 + len(THRESHOLDS)) + "|")
    for name in COPIES:
        pairs = [(one.embedding, one.copies[name]) for one in photographs]
        away = np.array([float(distance(a, b)) for a, b in pairs if b is not None])
        shares = " | ".join(f"{(away < t).mean():.0%}" for t in THRESHOLDS)
        lost = len(pairs) - len(away)
        print(f"| {name} | {np.median(away):.3f} | {away.max():.3f} | {lost} | {shares} |")
    print_pairs(people, arguments.same)


def print_pairs(people: list[list[Known]], same: float) -> None:
    """The nearest different photographs of one person, and how many pairs each threshold would join."""
    pairs = [pair for person in people for pair in combinations(person, 2)]
    different = [(a, b) for a, b in pairs if a.thumb @ b.thumb < same]
    away = np.sort([float(distance(a.embedding, b.embedding)) for a, b in different])
    print(f"{len(different)} pairs of different photographs of one person ({len(pairs) - len(different)} left out)")
    print("the nearest: " + ", ".join(f"{one:.3f}" for one in away[:6]) + f"; median {np.median(away):.2f}")
    print("pairs below: " + ", ".join(f"{t}: {int((away < t).sum())}" for t in THRESHOLDS))


def look(picture: Image.Image, detector: Detector, recogniser: DlibRecogniser) -> Known | None:
    """None if there is not one face in it."""
    embedding = recognised(picture, detector, recogniser)
    if embedding is None:
        return None
    copies = {name: recognised(copy(picture), detector, recogniser) for name, copy in COPIES.items()}
    face = align(picture, detector.detect(picture)[0].landmarks, 128).image
    thumb = np.asarray(face.convert("L").resize((16, 16), Image.Resampling.BOX), np.float64).ravel()
    thumb -= thumb.mean()
    return Known(embedding, copies, thumb / np.linalg.norm(thumb))


def recognised(picture: Image.Image, detector: Detector, recogniser: DlibRecogniser) -> np.ndarray | None:
    """The embedding [128] of the face, None if there is not one."""
    found = detector.detect(picture)
    return recogniser.embed_batch([picture], [found[0].landmarks])[0] if len(found) == 1 else None


if __name__ == "__main__":
    main()
