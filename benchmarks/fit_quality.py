"""Fit the head that judges faces: `python benchmarks/fit_quality.py DATA` writes weights/face_quality.json.

DATA holds the aligned sets lfw128, cfp256 and pins256 with their index.csv. Faces of the people of the splits "train"
are degraded as Eq. 4 of ReF-LDM does, from not at all to severely; the head learns the PSNR in the face. Its error is
printed for the people of lfw128's split "val".
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from faceref.data.degradation import MODERATE, SEVERE, TRAINING, DegradationRanges, degrade
from faceref.data.table import read_table
from faceref.faces.align import AlignedFace
from faceref.faces.quality import BEST, WORST, QualityHead, face_pixels, polynomial, quality_features
from faceref.files import write_atomically

MILD = DegradationRanges(sigma=(0, 2), downsample=(1, 2), noise=(0, 5), quality=(80, 100))
LIGHT = DegradationRanges(sigma=(0, 4), downsample=(1, 4), noise=(0, 10), quality=(60, 100))
COMPRESSED = DegradationRanges(sigma=(0, 2), downsample=(1, 2), noise=(0, 3), quality=(8, 60))
PRESETS = (None, MILD, LIGHT, COMPRESSED, MODERATE, TRAINING, SEVERE)
# name, size, share of --faces: photographs of the kind that people have weigh most
SETS = (
    ("lfw128", 128, 1),
    ("cfp256", 128, 0.25),
    ("cfp256", 256, 0.25),
    ("pins256", 128, 0.25),
    ("pins256", 256, 0.25),
)
RIDGE = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=400, help="of lfw128; of the other sets a quarter of that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("src/faceref/weights/face_quality.json"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    training = [(arguments.data / name, "train", size, int(arguments.faces * share)) for name, size, share in SETS]
    features, psnr = examples(training, rng)
    head = fit(features, psnr)
    held_features, held_psnr = examples([(arguments.data / "lfw128", "val", 128, arguments.faces // 2)], rng)
    error = np.clip([head.psnr(row) for row in held_features], WORST, BEST) - held_psnr
    correlation = np.corrcoef(held_psnr, held_psnr + error)[0, 1]
    print(f"{len(psnr)} training faces; lfw128 val, {len(error)} faces: ", end="")
    print(f"mean error {error.mean():+.2f} dB, spread {error.std():.2f} dB, correlation {correlation:.3f}")
    content = {name: np.round(getattr(head, name), 5).tolist() for name in ("mean", "scale", "weights")}
    note = f"benchmarks/fit_quality.py --faces {arguments.faces} --seed {arguments.seed}, people of the splits train"
    with write_atomically(arguments.out) as temporary:
        temporary.write_text(json.dumps({"source": note} | content) + "\n")


def examples(sets: list[tuple[Path, str, int, int]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, F] and PSNR [N], in WORST..BEST, of degraded faces of sets (folder, split, size, how many)."""
    pairs = [pair for folder, split, size, faces in sets for pair in _degraded_faces(folder, split, size, faces, rng)]
    return np.stack([features for features, _ in pairs]), np.array([psnr for _, psnr in pairs])


def fit(features: np.ndarray, psnr: np.ndarray) -> QualityHead:
    """Ridge regression of the PSNR [N] on the polynomial of the features [N, F]."""
    mean, scale = features.mean(0), features.std(0)
    terms = polynomial(np.clip((features - mean) / scale, -4, 4))
    penalty = RIDGE * np.eye(terms.shape[1])
    penalty[0, 0] = 0  # the constant
    return QualityHead(mean, scale, np.linalg.solve(terms.T @ terms + penalty, terms.T @ psnr))


def _degraded_faces(
    folder: Path, split: str, size: int, faces: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, float]]:
    names = [row["file"] for row in read_table(folder / "index.csv", ("file", "split")) if row["split"] == split]
    for name in track(rng.permutation(names)[:faces], description=f"{folder.name} {split} {size}"):
        picture = Image.open(folder / name).convert("RGBA").resize((size, size), Image.Resampling.LANCZOS)
        truth, mask = picture.convert("RGB"), np.asarray(picture.getchannel("A"))
        for preset in PRESETS:
            bad = degrade(truth, preset.at(size).sample(rng), rng) if preset else truth
            pixels, where = face_pixels(AlignedFace.whole(bad, mask))
            yield quality_features(pixels, where), _psnr(np.asarray(bad)[where], np.asarray(truth)[where])


def _psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return float(np.clip(10 * np.log10(255**2 / max(error, 1e-9)), WORST, BEST))


if __name__ == "__main__":
    main()
