"""What the choice of references is worth: identity of restorations, by what the references are chosen by.

    python benchmarks/reference_choice.py data/celebref9-512/people
    python benchmarks/reference_choice.py data/lfw128 --split val --at-least 8 --spoil dark

FOLDER holds a folder of aligned faces for each person. Each photograph (of a person the first --targets) is degraded
severely (seeded) and restored with --count of the person's other photographs, chosen by one property alone, by chance
(the mean of three draws), and as `faceref restore` does. --spoil: half of the others are darkened or blurred before, as
albums of clean photographs say little of what choosing is for. The table: dlib's cosine to the truth, centred, and its
differences to chance and to what faceref does, with 95 % intervals, bootstrapped over people; dlib is in no loss.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from faceref.data.degradation import SEVERE, degrade
from faceref.data.table import read_table
from faceref.faces.centre import Centre
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.recognise import DlibRecogniser
from faceref.people.choice import WEIGHTS, Weights, farthest_points, wanted
from faceref.people.measure import Measure
from faceref.people.person import FACE_SIZE, Person, Reference
from faceref.people.traits import Traits
from faceref.pictures.aligned import open_face
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

CHANCE = ("chance", "chance again", "chance once more")  # what is told is their mean
NOW = "as restored"
BATCH = 8
SPOILT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "dark": lambda face: face.point(lambda value: value * 0.2),
    "blurred": lambda face: face.filter(ImageFilter.GaussianBlur(face.width / 40)),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A degraded face, the embedding of its truth, its traits, and the person's other photographs."""

    person: str
    face: Image.Image
    truth: np.ndarray
    traits: Traits
    others: tuple[Reference, ...]
    others_traits: tuple[Traits, ...]


Rule = Callable[[Case, int], Sequence[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", help="of an index.csv beside the folders")
    parser.add_argument("--at-least", type=int, default=7, help="photographs of a person")
    parser.add_argument("--targets", type=int, default=20, help="of a person, at the most")
    parser.add_argument("--count", type=int, default=3, help="references")
    parser.add_argument("--spoil", choices=SPOILT)
    parser.add_argument("--by", nargs="*", default=list(RULES), choices=RULES, help="rules, beside chance")
    parser.add_argument("--model", default="small")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    restorer = Restorer.from_pretrained(arguments.model, device="cpu")
    recogniser, landmarker = restorer.recogniser, DlibDetector()
    cases: list[Case] = []
    for person, paths in people(arguments.folder, arguments.split, arguments.at_least).items():
        cases += cases_of(person, paths[:20], arguments, recogniser, landmarker)
    cases = [case for case in cases if len(case.others) > arguments.count]
    print(f"{len({case.person for case in cases})} people, {len(cases)} photographs, {arguments.count} references")
    rules = {name: RULES[name] for name in (*CHANCE, NOW, *arguments.by)}
    by_rule = measure(cases, rules, arguments.count, restorer.model, recogniser, arguments.seed)
    chance = np.mean([by_rule[name] for name in CHANCE], axis=0)
    names = np.array([case.person for case in cases])
    print(f"chance (mean of {len(CHANCE)} draws) {chance.mean():.3f}")
    for name, values in by_rule.items():
        if name not in CHANCE:
            told = [difference(values - other, names, arguments.seed) for other in (chance, by_rule[NOW])]
            print(f"{name:22} {values.mean():.3f}  {'  '.join(told)}", flush=True)


def people(folder: Path, split: str | None, at_least: int) -> dict[str, list[Path]]:
    """Photographs by person, of people with `at_least`."""
    if split is not None:
        rows = read_table(folder / "index.csv", ("file", "person", "split"))
        files = [folder / row["file"] for row in rows if row["split"] == split]
    else:
        files = [path for path in folder.glob("*/*") if path.is_file()]
    found: dict[str, list[Path]] = {}
    for path in sorted(files):
        found.setdefault(path.parent.name, []).append(path)
    return {name: paths for name, paths in found.items() if len(paths) >= at_least}


def cases_of(
    person: str,
    paths: Sequence[Path],
    arguments: argparse.Namespace,
    recogniser: DlibRecogniser,
    landmarker: DlibDetector,
) -> list[Case]:
    """A case for each of the first photographs; the references are the others, half of them spoilt if so wished."""
    faces = [open_face(path).convert("RGB") for path in paths]
    truths = recogniser.embed_aligned(faces)
    shown = list(faces)
    if arguments.spoil is not None:
        shown = [SPOILT[arguments.spoil](face) if i % 2 else face for i, face in enumerate(faces)]
    embeddings = recogniser.embed_aligned(shown)
    references = [
        Reference(path.name, face.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.LANCZOS), embedding, str(path))
        for path, face, embedding in zip(paths, shown, embeddings, strict=True)
    ]
    traits = [reference.traits(landmarker) for reference in references]
    cases = []
    for i in range(min(arguments.targets, len(paths))):
        generator = np.random.default_rng([arguments.seed, *f"{person}/{paths[i].name}".encode()])
        face = degrade(faces[i], SEVERE.at(faces[i].width).sample(generator), generator)
        others = [j for j in range(len(paths)) if j != i]
        target = Reference("target", face.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.LANCZOS), truths[i], "")
        cases.append(
            Case(
                person,
                face,
                truths[i],
                target.traits(landmarker),
                tuple(references[j] for j in others),
                tuple(traits[j] for j in others),
            )
        )
    return cases


def by_chance(draw: int) -> Rule:
    """Any."""

    def rule(case: Case, count: int) -> Sequence[int]:
        rng = np.random.default_rng([draw, *f"{case.person} {case.truth[0]}".encode()])
        return rng.permutation(len(case.others))[:count].tolist()

    return rule


def by(value: Callable[[Case, Traits], float]) -> Rule:
    """Those with the largest values."""

    def rule(case: Case, count: int) -> Sequence[int]:
        return np.argsort([-value(case, one) for one in case.others_traits], kind="stable")[:count].tolist()

    return rule


def most_typical(case: Case, count: int) -> Sequence[int]:
    """Those nearest to the mean of all."""
    embeddings = np.stack([one.embedding for one in case.others])
    return np.linalg.norm(embeddings - embeddings.mean(0), axis=1).argsort(kind="stable")[:count]


def varied(case: Case, count: int) -> Sequence[int]:
    """The most typical one, then always the one least like those before."""
    embeddings = np.stack([one.embedding for one in case.others])
    first = int(np.linalg.norm(embeddings - embeddings.mean(0), axis=1).argmin())
    rest = np.delete(np.arange(len(embeddings)), first)
    order = farthest_points(embeddings[first], embeddings[rest], Measure.EUCLIDEAN, at_most=count - 1)
    return [first, *rest[order]]


def weighed(weights: Weights) -> Rule:
    """As `faceref restore` would choose with these weights."""

    def rule(case: Case, count: int) -> Sequence[int]:
        embeddings = np.stack([one.embedding for one in case.others])
        return wanted(embeddings, case.others_traits, case.traits, count, weights)[:count]

    return rule


RULES: dict[str, Rule] = {
    **{name: by_chance(draw) for draw, name in enumerate(CHANCE)},
    "most typical": most_typical,
    "quality": by(lambda _, one: one.score),
    "exposure": by(lambda _, one: one.exposure),
    "yaw like the face": by(lambda case, one: -abs(one.yaw - case.traits.yaw)),
    "pitch like the face": by(lambda case, one: -abs(one.pitch - case.traits.pitch)),
    "open eyes": by(lambda _, one: one.eyes),
    "variety": varied,
    NOW: weighed(WEIGHTS),
    **{
        f"strangeness {strangeness}, pool {pool}": weighed(replace(WEIGHTS, strangeness=strangeness, pool=pool))
        for strangeness, pool in ((0, 1), (2, 1), (4, 1), (8, 1), (0, 2), (4, 2))
    },
}


def measure(
    cases: Sequence[Case], rules: Mapping[str, Rule], count: int, model: Model, recogniser: DlibRecogniser, seed: int
) -> dict[str, np.ndarray]:
    """By rule the centred cosine of each restoration to its truth, float64 [cases].

    What several rules choose alike is restored once: the order of references does not matter.
    """
    chosen = {name: [tuple(sorted(map(int, rule(case, count)))) for case in cases] for name, rule in rules.items()}
    wanted = sorted({(i, shown) for of_cases in chosen.values() for i, shown in enumerate(of_cases)})
    settings = model.settings(RestoreOptions(seed=seed))
    cosines: dict[tuple[int, tuple[int, ...]], float] = {}
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        faces = [cases[i].face for i, _ in part]
        shown = [Person(tuple(cases[i].others[j] for j in places)) for i, places in part]
        restored = recogniser.embed_aligned(model.restore(faces, shown, settings, lambda _: None))
        truths = np.stack([cases[i].truth for i, _ in part])
        cosines.update(zip(part, Centre.shipped().cosine(restored, truths).tolist(), strict=True))
    return {name: np.array([cosines[one] for one in enumerate(of_cases)]) for name, of_cases in chosen.items()}


def difference(differences: np.ndarray, people: np.ndarray, seed: int) -> str:
    """The mean, and 95 % of the means of samples of the people, with replacement."""
    rng = np.random.default_rng(seed)
    groups = [differences[people == name] for name in np.unique(people)]
    means = [np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))]).mean() for _ in range(2000)]
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    main()
