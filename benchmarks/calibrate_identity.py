"""How far a degraded face lies from its person's references and from strangers': fit the certainty, or report on it.

    python benchmarks/calibrate_identity.py fit data/lfw128 --out src/faceref/weights/identity.json
    python benchmarks/calibrate_identity.py report data/lfw128
    python benchmarks/calibrate_identity.py report data/lfw128 --dlib

fit: validation people, whom the recogniser was not trained on. report: test people; --dlib: with dlib's own network
instead. One photograph of each person is taken as it is and degraded mildly, moderately and severely (seeded); others
of the person are the references, and everybody else's references are strangers'. Of these are made photographs with
several faces of one kind, of which the one most like the references is restored, if it may be them.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import minimize

from faceref.data.degradation import GRADES, degrade
from faceref.data.table import read_table
from faceref.faces.align import AlignedFace, Alignment
from faceref.faces.certainty import Calibration, features
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.faces.quality import quality
from faceref.people.matching import nearly_as_sure

SIZE = 128  # pixels of the faces
KINDS = {"untouched": None, **GRADES}
REFERENCES = 5  # at the most, of a person
STRANGERS_RESTORED = 0.005  # goal
SEVERAL = (2, 4, 8)  # faces on a photograph
PHOTOGRAPHS = 20_000  # with so many faces
DISTANCES = {"mean": np.mean, "nearest": np.min}  # over a person's references


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every face against every person: distances by name [K, P, P] (kind, face's, references'), scores [K, P]."""

    distances: dict[str, np.ndarray]
    scores: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """bool [P, P]"""
        return np.eye(self.scores.shape[1], dtype=bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fit", "report"))
    parser.add_argument("folders", type=Path, nargs="+", help="aligned photographs with index.csv")
    parser.add_argument("--out", type=Path, help="where the fitted certainty goes")
    parser.add_argument("--people", type=int, default=250, help="at the most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dlib", action="store_true", help="dlib's own network")
    arguments = parser.parse_args()
    split = "val" if arguments.command == "fit" else "test"
    pairs = measure(arguments.folders, split, arguments.people, arguments.seed, by_dlib=arguments.dlib)
    if arguments.command == "report":
        report(pairs, Calibration.shipped())
        report_several(pairs, Calibration.shipped(), np.random.default_rng(arguments.seed))
        return
    calibration = fit(pairs)
    report(pairs, calibration)
    if arguments.out:
        arguments.out.write_text(json.dumps(asdict(calibration), indent=1) + "\n")


def measure(folders: list[Path], split: str, people: int, seed: int, *, by_dlib: bool = False) -> Pairs:
    """Embed the faces and references of people with three photographs or more."""
    photographs = defaultdict(list)
    for folder in folders:
        for row in read_table(folder / "index.csv", ("file", "person", "split")):
            if row["split"] == split:
                photographs[row["person"]].append(folder / row["file"])
    rng = np.random.default_rng(seed)
    known = sorted(rng.permutation(sorted(name for name, files in photographs.items() if len(files) >= 3))[:people])
    recogniser = TorchDlibRecogniser()
    references, faces, scores = [], [], []
    for person in known:
        first, *others = (photographs[person][i] for i in rng.permutation(len(photographs[person]))[: REFERENCES + 1])
        degraded = [degraded_as(kind, first, rng) for kind in KINDS]
        pictures = [face.image for face in degraded]
        landmarks = [landmarks_of_aligned(picture, recogniser.landmarker) for picture in pictures]
        embed = recogniser.embed_batch if by_dlib else recogniser.embed_probes
        faces.append(embed(pictures, landmarks))  # [K, 128]
        references.append(recogniser.embed_aligned([Image.open(file).convert("RGB") for file in others]))  # [R, 128]
        scores.append([quality(face).score for face in degraded])
    embedded = np.stack(faces, axis=1)  # [K, P, 128]
    away = [np.linalg.norm(embedded[:, :, None] - one, axis=-1) for one in references]  # [K, P, R] for each person
    distances = {name: np.stack([over(one, axis=-1) for one in away], axis=-1) for name, over in DISTANCES.items()}
    centres = np.stack([one.mean(0) for one in references])  # [P, 128]
    distances["centre"] = np.linalg.norm(embedded[:, :, None] - centres, axis=-1)
    return Pairs(distances, np.array(scores).T)


def degraded_as(kind: str, file: Path, rng: np.random.Generator) -> AlignedFace:
    """An aligned face of the index, degraded, as if it had been cut from a photograph at its own size."""
    image = Image.open(file).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    picture = image.convert("RGB")
    if (ranges := KINDS[kind]) is not None:
        picture = degrade(picture, ranges.at(SIZE).sample(rng), rng)
    quad = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]]) - 0.5
    mask = np.asarray(image.convert("RGBA").getchannel("A"))
    return AlignedFace(picture, mask, Alignment(quad, SIZE))


def fit(pairs: Pairs) -> Calibration:
    """Logistic regression; each kind weighs the same, and in it the person's faces as much as strangers'."""
    x = features(pairs.distances["centre"], pairs.scores[:, :, None])  # [K, P, P, F]
    kinds, people = pairs.scores.shape
    weights = np.where(pairs.same, 1 / people, 1 / people / (people - 1)) / kinds / 2  # [P, P]
    signs = np.where(pairs.same, 1, -1)

    def loss(coefficients: np.ndarray) -> float:
        return float((weights * np.logaddexp(0, -signs * (x @ coefficients))).sum() + 1e-5 * (coefficients**2).sum())

    coefficients = minimize(loss, np.zeros(x.shape[-1])).x.round(4)
    certainties = Calibration(tuple(coefficients), 0.5).certainty(pairs.distances["centre"], pairs.scores[:, :, None])
    # severely degraded faces cannot be told apart at any threshold: one for them would refuse most faces of all kinds
    strangers = certainties[[kind != "severe" for kind in KINDS]][:, ~pairs.same]
    threshold = np.quantile(strangers, 1 - STRANGERS_RESTORED, axis=1).max()
    return Calibration(tuple(coefficients.tolist()), float(threshold.round(3)))


def report(pairs: Pairs, calibration: Calibration) -> None:
    """Print what each threshold refuses of the person's own faces, and restores of strangers'."""
    certainties = calibration.certainty(pairs.distances["centre"], pairs.scores[:, :, None])  # [K, P, P]
    people = pairs.same.shape[0]
    print(f"{people} people, {len(KINDS)} x {people} faces, {len(KINDS)} x {people * (people - 1)} strangers")
    print("certainty | the person refused, strangers restored (%): " + ", ".join([*KINDS, "all"]))
    for threshold in sorted({0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, calibration.threshold}):
        refused, restored = certainties[:, pairs.same] < threshold, certainties[:, ~pairs.same] >= threshold
        rows = [*zip(refused, restored, strict=True), (refused, restored)]
        cells = " | ".join(f"{100 * a.mean():5.1f} {100 * b.mean():6.2f}" for a, b in rows)
        print(f"{threshold:6.3f} | {cells}{'  <- refusal' if threshold == calibration.threshold else ''}")
    print("the person refused where 0.5 % of strangers of the same kind are restored (%), and the distance there:")
    for name, distances in pairs.distances.items():
        limits = np.quantile(distances[:, ~pairs.same], STRANGERS_RESTORED, axis=1)  # [K]
        refused = (distances[:, pairs.same] > limits[:, None]).mean(1)
        print(f"{name:8}" + " | ".join(f"{100 * a:5.1f} at {b:.3f}" for a, b in zip(refused, limits, strict=True)))


def report_several(pairs: Pairs, calibration: Calibration, rng: np.random.Generator) -> None:
    """Print whom the references of one person restore on photographs with several faces, drawn from all of a kind."""
    certainties = calibration.certainty(pairs.distances["centre"], pairs.scores[:, :, None])  # [K, P, P]
    people = pairs.same.shape[0]
    print("photographs with several faces, %: right, wrong (said that another may be them), refused | ", end="")
    print("without the person: somebody restored (said)")
    for count in SEVERAL:
        shown = rng.permuted(np.tile(np.arange(people), (PHOTOGRAPHS, 1)), axis=1)[:, : count + 1]  # the person first
        for kind, of_kind in zip(KINDS, certainties, strict=True):
            sure = of_kind[shown, shown[:, :1]]  # [N, count + 1], by the person's references
            cells = []
            for faces in (sure[:, :-1], sure[:, 1:]):
                second, best = np.sort(faces, axis=1)[:, -2:].T
                restored, said = best >= calibration.threshold, nearly_as_sure(second, best)
                first = faces.argmax(1) == 0
                cells.append([100 * (restored & one).mean() for one in (first, first & said, ~first, ~first & said)])
            (right, doubted, wrong, told), absent = cells
            there = f"{right:5.1f} ({doubted:4.1f}) {wrong:5.1f} ({told:4.1f}) {100 - right - wrong:5.1f}"
            print(f"{count} {kind:10} {there} | {absent[0] + absent[2]:5.1f} ({absent[1] + absent[3]:4.1f})")


if __name__ == "__main__":
    main()
