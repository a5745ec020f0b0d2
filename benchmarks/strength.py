"""No face gets worse: the table of docs/evaluation.md, and on which people its rule was chosen.

    python benchmarks/strength.py DATA/lfw128 --split test          # the table
    python benchmarks/strength.py DATA/celebref9-512/people         # folders of people
    python benchmarks/strength.py DATA/lfw128 --split val --choose  # the thresholds of `strength`
    python benchmarks/strength.py DATA/celebref9-512/people --side 64  # of small faces, which stay as small

One photograph each of up to --people people is degraded severely, moderately, mildly, by noise alone, by noise that
was enlarged, and not at all, to scale where faces have --side pixels; restored by `small` with up to five others of the
person (and by the model it brings for none), and blended with the input as `faceref.faces.quality.strength` says. In
thirds of the inputs' PSNR neither PSNR nor identity (dlib, centred cosine) may fall.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.data.degradation import MILD, MODERATE, SEVERE, DegradationRanges, degrade
from faceref.data.lq_set import seed_for
from faceref.data.table import read_table
from faceref.evaluation.faces import FaceDescriber
from faceref.faces.align import AlignedFace, Alignment
from faceref.faces.centre import Centre
from faceref.faces.colour import match_color
from faceref.faces.quality import FaceQuality, quality, size_in_photo, strength
from faceref.faces.recognise import DlibRecogniser

NOISY = DegradationRanges(sigma=(0, 0.1), downsample=(1, 1), noise=(10, 40), quality=(95, 100))
COARSE = DegradationRanges(sigma=(0, 2), downsample=(2, 4), noise=(10, 30), quality=(50, 95), resolution=256)
PRESETS = {
    "severe": SEVERE,
    "moderate": MODERATE,
    "mild": MILD,
    "noisy": NOISY,
    "coarsely noisy": COARSE,
    "untouched": None,
}
DEGRADED, MODELS = tuple(preset for preset, ranges in PRESETS.items() if ranges), ("references", "none")
SIZE, REFERENCES, PHOTOGRAPHS_OF_A_FOLDER = 256, 5, 6  # SIZE: of the faces that `small` takes, in pixels
IDENTICAL, UNTOUCHED = 100.0, 45.0  # dB: of equal pictures, and what an untouched face has to keep
Rule = Callable[[FaceQuality], float]


@dataclass(frozen=True, eq=False)
class Example:
    """A degraded face, what each model makes of it at full strength, and the truth; RGB uint8 [S, S, 3]."""

    path: Path
    preset: str
    truth: np.ndarray
    before: np.ndarray
    restored: dict[str, np.ndarray]
    quality: FaceQuality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", help="of index.csv; without it the folders in FOLDER are people")
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=SIZE, help="of a face in the photograph, in pixels")
    parser.add_argument("--choose", action="store_true", help="print the gain in PSNR of other thresholds")
    arguments = parser.parse_args()
    cases = photographs(arguments.folder, arguments.split, arguments.people, arguments.seed)
    examples = list(restored_examples(cases, arguments.side, arguments.seed))
    if arguments.choose:
        choose(examples)
    else:
        show(examples, FaceDescriber(DlibRecogniser(), SIZE))


def photographs(folder: Path, split: str | None, people: int, seed: int) -> list[tuple[Path, list[Path]]]:
    """A photograph and up to five references, of each person of a split; of folders of people, six of each person."""
    of: dict[str, list[Path]] = {}
    if split is None:
        of = {person.name: sorted(person.iterdir()) for person in sorted(folder.iterdir())}
    else:
        for row in read_table(folder / "index.csv", ("file", "person", "split")):
            if row["split"] == split:
                of.setdefault(row["person"], []).append(folder / row["file"])
    cases = []
    several = [(person, paths) for person, paths in of.items() if len(paths) > 1]
    for person, paths in several[:people]:
        order = np.random.default_rng(seed_for(seed, person, "order")).permutation(len(paths))
        shuffled = [paths[i] for i in order]
        for i in range(1 if split else min(PHOTOGRAPHS_OF_A_FOLDER, len(paths))):
            cases.append((shuffled[i], (shuffled[:i] + shuffled[i + 1 :])[:REFERENCES]))
    return cases


def restored_examples(cases: list[tuple[Path, list[Path]]], size: int, seed: int) -> Iterator[Example]:
    pipeline, info = load_pipeline("small")
    blind, blind_info = load_blind("small") or (pipeline, info)
    for path, references in track(cases, description="restoring"):
        truth = _open(path, size)
        side = min(Image.open(path).width, size)
        in_photo = Alignment(np.array([(0, 0), (0, side), (side, side), (side, 0)]) - 0.5, SIZE)
        cache = pipeline.encode_references([_open(one) for one in references])
        for preset, ranges in PRESETS.items():
            rng = np.random.default_rng(seed_for(seed, path.name, preset))
            bad = degrade(truth, ranges.at(size).sample(rng), rng) if ranges else truth
            large = bad.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            face = AlignedFace(large, np.full((SIZE, SIZE), 255, np.uint8), in_photo)
            with_references = partial(pipeline, references=cache)
            pictures = {
                "references": _restored(with_references, large, info, seed),
                "none": _restored(blind, large, blind_info, seed),
            }
            matched = {name: _scaled(match_color(one, large, face.mask), size) for name, one in pictures.items()}
            yield Example(path, preset, np.asarray(truth), np.asarray(bad), matched, quality(face, size_in_photo(face)))


def blended(example: Example, model: str, rule: Rule) -> np.ndarray:
    share = rule(example.quality)
    mixed = example.before + share * (example.restored[model].astype(np.float32) - example.before)
    return np.rint(mixed).astype(np.uint8)


def choose(examples: list[Example]) -> None:
    """How thresholds of `strength` would do: the mean gain in PSNR, and that of the worst third of any preset."""
    rows = []
    for full, alone in product(np.arange(0.2, 0.75, 0.05), np.arange(0.4, 0.96, 0.05)):
        if full < alone:
            rule = partial(_ramp, full, alone)
            gains = [_gains(examples, preset, model, rule) for preset in DEGRADED for model in MODELS]
            kept = [
                psnr_of(blended(one, m, rule), one.truth) >= UNTOUCHED
                for one in _of(examples, "untouched")
                for m in MODELS
            ]
            worst = min(third.mean() for thirds in gains for third in thirds)
            rows.append(
                (
                    worst,
                    float(np.concatenate([np.concatenate(g) for g in gains]).mean()),
                    float(np.mean(kept)),
                    full,
                    alone,
                )
            )
    table = Table("full below", "alone above", "worst third (dB)", "mean gain (dB)", "untouched within 45 dB")
    for worst, gain, kept, full, alone in sorted(rows, key=lambda row: -(row[1] + 3 * min(row[0], 0) + row[2])):
        table.add_row(f"{full:.2f}", f"{alone:.2f}", f"{worst:.2f}", f"{gain:.2f}", f"{kept:.3f}")
    Console(width=100).print(table)


def show(examples: list[Example], describer: FaceDescriber) -> None:
    """Print a Markdown row for every preset, model and third of the inputs' PSNR."""
    columns = (
        "photographs",
        "references",
        "third",
        "strength",
        "PSNR: input, fully restored, shipped",
        "identity: same",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for preset in PRESETS:
        some = _of(examples, preset)
        compare = _comparison(describer, some)
        before = compare([one.before for one in some])
        shares = np.array([strength(one.quality) for one in some])
        for model in MODELS:
            full = compare([one.restored[model] for one in some])
            after = compare([blended(one, model, strength) for one in some])
            for name, third in zip(("worst", "middle", "best"), _thirds(before[0]), strict=True):
                psnr, identity = zip(
                    *((p[third].mean(), i[third].mean()) for p, i in (before, full, after)), strict=True
                )
                numbers = f"{', '.join(f'{p:.2f}' for p in psnr)} | {', '.join(f'{i:.3f}' for i in identity)}"
                print(f"| {preset} | {model} | {name} | {shares[third].mean():.2f} | {numbers} |")
            if preset == "untouched":
                kept = after[0] >= UNTOUCHED
                print(
                    f"{kept.mean():.1%} of the untouched within 45 dB of themselves, the least {after[0].min():.1f} dB"
                )


def _comparison(
    describer: FaceDescriber, examples: list[Example]
) -> Callable[[list[np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """What measures pictures against the truth of these examples: PSNR and identity, [B] each."""
    described, centre = describer.photographs([one.path for one in examples]), Centre.shipped()
    landmarks, of_truth = [face.landmarks for face in described], np.stack([face.embedding for face in described])
    truth = [one.truth for one in examples]

    def compare(pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        large = np.stack([_scaled(Image.fromarray(picture), SIZE) for picture in pictures])
        identity = centre.cosine(describer.embed(large, landmarks), of_truth)
        return np.array(list(map(psnr_of, pictures, truth))), identity

    return compare


def _gains(examples: list[Example], preset: str, model: str, rule: Rule) -> list[np.ndarray]:
    """What the rule gains in PSNR in each third of the inputs' PSNR."""
    some = _of(examples, preset)
    before = np.array([psnr_of(one.before, one.truth) for one in some])
    after = np.array([psnr_of(blended(one, model, rule), one.truth) for one in some])
    return [(after - before)[third] for third in _thirds(before)]


def _ramp(full: float, alone: float, judged: FaceQuality) -> float:
    return float(np.clip((alone - judged.score) / (alone - full), 0, 1))


def _of(examples: list[Example], preset: str) -> list[Example]:
    return [one for one in examples if one.preset == preset]


def _restored(run: Callable[..., Any], bad: Image.Image, info: ModelInfo, seed: int) -> Image.Image:
    settings: dict[str, Any] = {"num_inference_steps": info.steps, "generator": torch.Generator().manual_seed(seed)}
    if info.family == "refldm":
        settings["guidance_scale"] = info.guidance
    return run([bad], **settings).images[0]


def _thirds(values: np.ndarray) -> list[np.ndarray]:
    return np.array_split(np.argsort(values, kind="stable"), 3)


def _open(path: Path, size: int = SIZE) -> Image.Image:
    return Image.open(path).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


def _scaled(picture: Image.Image, size: int) -> np.ndarray:
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))


def psnr_of(picture: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return IDENTICAL if error == 0 else min(float(10 * np.log10(255**2 / error)), IDENTICAL)


if __name__ == "__main__":
    main()
