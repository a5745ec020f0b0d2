"""Fit the heads that judge faces, and write them to src/faceref/weights: `python benchmarks/fit_quality.py DATA`.

One is for faces from 128 px on, one for smaller ones (`--only` fits one of them). DATA holds the aligned sets lfw128,
cfp256 and pins256 with their index.csv, in which `faceref data splits` put people aside. Faces of the people of the
splits "train" are degraded as Eq. 4 of ReF-LDM does, from not at all to severely, as photographs are, and by noise;
some are grey. A head learns the PSNR in the face. Its error is printed for the people of the splits "val".
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from faceref.data.degradation import MILD, MODERATE, SEVERE, TRAINING, DegradationRanges, degrade
from faceref.data.photographic import PhotographicRanges, photograph
from faceref.data.table import read_table
from faceref.evaluation.pictures import to_pixels, to_tensor
from faceref.faces.align import AlignedFace
from faceref.faces.quality import (
    BEST,
    HEADS,
    JUDGED_AT,
    RESTORED,
    WORST,
    FaceQuality,
    QualityHead,
    face_pixels,
    quality_features,
    standardised,
    strength,
)
from faceref.files import write_atomically
from faceref.restore.faces import FACE_SIZE

LIGHT = DegradationRanges(sigma=(0, 4), downsample=(1, 4), noise=(0, 10), quality=(60, 100))
COMPRESSED = DegradationRanges(sigma=(0, 2), downsample=(1, 2), noise=(0, 3), quality=(8, 60))
SOFT = DegradationRanges(sigma=(0.3, 5), downsample=(1, 4), noise=(0, 2), quality=(50, 100), resolution=256)
NOISY = DegradationRanges(sigma=(0, 3), downsample=(1, 1), noise=(3, 40), quality=(70, 100), resolution=256)
# enlarged with the face
COARSE = DegradationRanges(sigma=(0, 2.5), downsample=(1, 5), noise=(5, 35), quality=(40, 95), resolution=256)
PHOTOGRAPHIC = PhotographicRanges()
PHOTOGRAPHIC_NOISY = PhotographicRanges(side=(40, 256), noise=(4, 35))
Ranges = DegradationRanges | PhotographicRanges | None
# of small faces, which are as large in the photograph
SMALL = DegradationRanges(sigma=(0, 0.5), downsample=(1, 1.3), noise=(0, 5), quality=(75, 100), resolution=64)
SMALL_SOFT = DegradationRanges(sigma=(0.3, 3), downsample=(1, 4), noise=(0, 3), quality=(50, 100), resolution=64)
SMALL_NOISY = DegradationRanges(sigma=(0, 1.5), downsample=(1, 1), noise=(3, 40), quality=(70, 100), resolution=64)
SMALL_COARSE = DegradationRanges(sigma=(0, 1.5), downsample=(1, 4), noise=(3, 30), quality=(40, 95), resolution=64)
SMALL_COMPRESSED = DegradationRanges(sigma=(0, 0.8), downsample=(1, 1.5), noise=(0, 3), quality=(8, 60), resolution=64)
GREY = 0.12  # share of the faces
HIDDEN, EPOCHS, BATCH, RATE = 24, 80, 256, 6e-3
JITTER = 0.3  # of the standardised features: with less, photographs unlike these sets' have arbitrary scores


class Lesson(NamedTuple):
    """What a head learns of: degradations by kind (what stands twice counts twice), and faces.

    train, val: (name of the set, size, share of --faces); photographs of the kind that people have weigh most.
    """

    presets: dict[str, tuple[Ranges, ...]]
    train: tuple[tuple[str, int, float], ...]
    val: tuple[tuple[str, int, float], ...]


AS_PHOTOGRAPHS = (PHOTOGRAPHIC, PHOTOGRAPHIC, PHOTOGRAPHIC_NOISY)
LESSONS = {
    "large": Lesson(
        {
            "Eq. 4": (None, MILD, LIGHT, COMPRESSED, MODERATE, TRAINING, SEVERE),
            "soft": (SOFT, SOFT),
            "noisy": (NOISY, COARSE),
            "photographic": AS_PHOTOGRAPHS,
        },
        train=(("lfw128", 128, 1), *((name, size, 0.25) for name in ("cfp256", "pins256") for size in (128, 176, 256))),
        val=(("lfw128", 128, 0.5), ("cfp256", 256, 0.25), ("pins256", 256, 0.25)),
    ),
    "small": Lesson(
        {
            "sharp": (None, None, SMALL, SMALL, SMALL),
            "soft": (SMALL_SOFT, SMALL_SOFT),
            "noisy": (SMALL_NOISY, SMALL_COARSE),
            "compressed": (SMALL_COMPRESSED,),
            "photographic": AS_PHOTOGRAPHS,
        },
        train=tuple(
            (name, size, share)
            for name, share in (("lfw128", 0.3), ("cfp256", 0.35), ("pins256", 0.35))
            for size in (48, 64, 80, 96, 112)
        ),
        val=tuple((name, size, 0.25) for name in ("lfw128", "cfp256") for size in (48, 64, 96)),
    ),
}


class Example(NamedTuple):
    """A degraded face: of which kind, by which of its ranges, its features [F], and its PSNR in WORST..BEST."""

    kind: str
    ranges: Ranges
    features: np.ndarray
    psnr: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=400, help="of lfw128; of the other sets a quarter of that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=LESSONS, help="one of the heads")
    parser.add_argument("-o", "--out", type=Path, default=Path("src/faceref/weights"), help="a folder")
    arguments = parser.parse_args()
    for which, lesson in LESSONS.items():
        if arguments.only in (None, which):
            with write_atomically(arguments.out / HEADS[which]) as temporary:
                temporary.write_text(json.dumps(learnt(lesson, arguments.data, arguments.faces, arguments.seed)) + "\n")


def learnt(lesson: Lesson, data: Path, faces: int, seed: int) -> dict[str, Any]:
    """The content of a head's file; prints what it says of faces that are held out."""
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def examples(name: str, split: str, size: int, share: float) -> Iterator[Example]:
        return degraded_faces(data / name, split, size, int(faces * share), lesson.presets, rng, generator)

    training = [one for name, size, share in lesson.train for one in examples(name, "train", size, share)]
    head = fit(np.stack([one.features for one in training]), np.array([one.psnr for one in training]))
    table = Table(
        "held out", "", "faces", "error, dB", "spread", "correlation", "poor left alone", "untouched restored"
    )
    for name, size, share in lesson.val:
        held = list(examples(name, "val", size, share))
        for kind in lesson.presets:
            table.add_row(f"{name}, {size} px", kind, *figures(head, [one for one in held if one.kind == kind]))
    Console(width=120).print(table)
    layers = [{"weight": _rounded(weight), "bias": _rounded(bias)} for weight, bias in head.layers]
    note = f"benchmarks/fit_quality.py --faces {faces} --seed {seed}, people of the splits train"
    return {"source": note, "mean": _rounded(head.mean), "scale": _rounded(head.scale), "layers": layers}


def figures(head: QualityHead, held: list[Example]) -> Iterator[str]:
    """What `main` prints of examples of one kind; poor are those below the PSNR of a face that is restored fully."""
    truth = np.array([one.psnr for one in held])
    judged = np.clip(head.psnr(np.stack([one.features for one in held])), WORST, BEST)
    needed = np.array([strength(FaceQuality(psnr)) for psnr in judged])
    error, untouched = judged - truth, np.array([one.ranges is None for one in held])
    poor = truth < WORST + RESTORED * (BEST - WORST)
    yield str(len(held))
    yield f"{error.mean():+.2f}"
    yield f"{error.std():.2f}"
    yield f"{np.corrcoef(truth, judged)[0, 1]:.3f}"
    for those, share in ((poor, needed == 0), (untouched, needed > 0)):
        yield f"{share[those].mean():.1%}" if those.any() else ""


def fit(features: np.ndarray, psnr: np.ndarray) -> QualityHead:
    """A network of two hidden layers that tells the score of a PSNR [N] from the features [N, F]."""
    mean, scale = features.mean(0), features.std(0)
    inputs = torch.tensor(standardised(features, mean, scale), dtype=torch.float32)
    scores = torch.tensor((psnr - WORST) / (BEST - WORST), dtype=torch.float32)
    layers = [nn.Linear(inputs.shape[1], HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 1)]
    network = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    steps = EPOCHS * -(-len(scores) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(scores)).split(BATCH):
            given = inputs[rows] + JITTER * torch.randn(len(rows), inputs.shape[1])
            loss = nn.functional.huber_loss(network(given)[:, 0], scores[rows], delta=0.12)  # of 3 dB
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    numbers = [(one.weight.detach().numpy().T, one.bias.detach().numpy()) for one in layers]
    return QualityHead(mean, scale, tuple(numbers))


def degraded_faces(
    folder: Path,
    split: str,
    size: int,
    faces: int,
    degradations: dict[str, tuple[Ranges, ...]],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> Iterator[Example]:
    """So many faces of a split, each degraded in all ways."""
    names = [row["file"] for row in read_table(folder / "index.csv", ("file", "split")) if row["split"] == split]
    for name in track(rng.permutation(names)[:faces], description=f"{folder.name} {split} {size}"):
        picture = Image.open(folder / name).convert("RGBA").resize((size, size), Image.Resampling.LANCZOS)
        truth, mask = picture.convert("L" if rng.random() < GREY else "RGB").convert("RGB"), picture.getchannel("A")
        for kind, presets in degradations.items():
            for ranges in presets:
                bad = _degraded(truth, ranges, rng, generator)
                pixels, where = face_pixels(AlignedFace.whole(_cut_out(bad), np.asarray(mask)))
                psnr = _psnr(np.asarray(bad)[where], np.asarray(truth)[where])
                yield Example(kind, ranges, quality_features(pixels, where), psnr)


def _degraded(truth: Image.Image, ranges: Ranges, rng: np.random.Generator, generator: torch.Generator) -> Image.Image:
    if isinstance(ranges, PhotographicRanges):
        pictures = photograph(to_tensor(np.array(truth)[None]), ranges, generator)
        return Image.fromarray(to_pixels(pictures)[0])
    return degrade(truth, ranges.at(truth.width).sample(rng), rng) if ranges else truth


def _cut_out(face: Image.Image) -> Image.Image:
    """As it is judged after it was cut out of a photograph: small ones were enlarged for that."""
    if face.width >= JUDGED_AT:
        return face
    large = face.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR)
    return large.resize(face.size, Image.Resampling.LANCZOS)


def _rounded(numbers: np.ndarray) -> list[Any]:
    return np.round(numbers.astype(np.float64), 5).tolist()


def _psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return float(np.clip(10 * np.log10(255**2 / max(error, 1e-9)), WORST, BEST))


if __name__ == "__main__":
    main()
