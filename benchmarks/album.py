"""Whose references a face is given when an album shows many people: right, wrong or nobody's, by degradation.

    python benchmarks/album.py choose data/lfw128 --split val --work runs/album/choose
    python benchmarks/album.py report data/lfw128 --split test --work runs/album/report

FOLDER holds a folder for each person, and with --split an index.csv of whom those of the split are looked at: the
recogniser was trained on those of train. In each round one photograph of every person is taken out of the album, and of
a quarter of the people all are: these are strangers there. People with a single photograph stay, and are not looked
for. The photographs taken out are looked for in the album as they are and degraded mildly, moderately and severely
(seeded). The album knows no names: its faces are found, grouped and matched as `faceref restore --ref ALBUM` does.
choose: every threshold is tried. report: those of the package are measured; with --recogniser dlib, without the
trained one.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.data.degradation import GRADES, degrade
from faceref.data.table import read_table
from faceref.faces.detect import load_detector
from faceref.faces.dlib_torch import TorchDlibRecogniser, load_recogniser
from faceref.people.album import Album, AlbumPhoto, read_album
from faceref.people.album_index import AlbumIndex
from faceref.people.album_people import SAME_PERSON, AlbumPerson, people_of
from faceref.people.matching import SURE_AMONG_SEVERAL, TIMES_THE_SECOND, match
from faceref.people.seen import Seen, SeenFace

KINDS = {"untouched": None, **GRADES}
PHOTOGRAPHS = 6  # of a person, at the most
STRANGERS = 4  # one of so many people is not in the album
GROUPING = (0.45, 0.48, 0.5, 0.52, 0.55)
CERTAINTIES, TIMES = (0.3, 0.5, 0.6, 0.7), (1.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, eq=False)
class Photograph:
    """person: whom it is of; photo: as it is; face: the person's; degraded: the same face by kind, None if missed."""

    person: str
    photo: AlbumPhoto
    face: SeenFace
    degraded: dict[str, SeenFace | None]


@dataclass(frozen=True)
class Outcome:
    """Of a face looked for: its kind, whether its person is in the album, whether whom it matches is that person
    (None: it was not found), how surely, and the second best; the share of that person's faces that are another's."""

    kind: str
    known: bool
    right: bool | None
    certainty: float
    second: float
    foreign: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("choose", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", help="of FOLDER/index.csv; without it, everybody")
    parser.add_argument("--recogniser", default="trained")
    parser.add_argument("--people", type=int, default=150, help="at the most")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/album"), help="degraded photographs and the index")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    people = labelled(arguments.folder, arguments.split, arguments.people, rng)
    recogniser = load_recogniser(arguments.recogniser)
    photographs = prepare(people, arguments.folder, arguments.work, arguments.rounds, arguments.seed, recogniser)
    print(f"{len({one.person for one in photographs})} people, {len(photographs)} photographs", flush=True)
    for threshold in GROUPING if arguments.command == "choose" else (SAME_PERSON,):
        outcomes = [one for n in range(arguments.rounds) for one in play(photographs, n, threshold, arguments.seed)]
        rules = [(SURE_AMONG_SEVERAL, TIMES_THE_SECOND)]
        for certainty, times in product(CERTAINTIES, TIMES) if arguments.command == "choose" else rules:
            print(f"\ngrouped below {threshold}, sure from {certainty} and {times} times the second best")
            report(outcomes, certainty, times)


def labelled(folder: Path, split: str | None, people: int, rng: np.random.Generator) -> dict[str, list[Path]]:
    """Photographs by person, first of people with two or more."""
    names = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
    if split:
        rows = read_table(folder / "index.csv", ("person", "split"))
        names = sorted({row["person"] for row in rows if row["split"] == split} & set(names))
    found = {name: sorted(path for path in (folder / name).iterdir() if path.is_file()) for name in names}
    several = [name for name in names if len(found[name]) > 1]
    chosen = sorted(rng.permutation(several)[:people].tolist())
    chosen += [name for name in names if len(found[name]) == 1][: people - len(chosen)]
    return {name: [found[name][i] for i in rng.permutation(len(found[name]))[:PHOTOGRAPHS]] for name in chosen}


def prepare(
    people: dict[str, list[Path]], folder: Path, work: Path, rounds: int, seed: int, recogniser: TorchDlibRecogniser
) -> list[Photograph]:
    """Look at all photographs, and at the degraded ones of those that are looked for in a round."""
    detector = load_detector()
    index = AlbumIndex(work)

    def look(paths: Sequence[Path]) -> dict[Path, AlbumPhoto]:
        album = read_album(paths, detector, recogniser, index)
        return {photo.path: photo for photo in album.photos}

    known = look([path for paths in people.values() for path in paths])
    photographs = []
    queries: dict[tuple[str, Path], Path] = {}
    faces: dict[Path, SeenFace] = {}
    for paths in people.values():
        for place, path in enumerate(one for one in paths if one in known and known[one].seen.faces):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            faces[path] = nearest(known[path].seen, np.array(image.size) / 2)
            for kind, ranges in KINDS.items():
                if place < rounds and len(paths) > 1 and ranges is not None:
                    target = work / kind / path.relative_to(folder).with_suffix(".png")
                    queries[kind, path] = target
                    if not target.exists():
                        generator = np.random.default_rng([seed, *target.as_posix().encode()])
                        sampled = ranges.at(round(faces[path].side)).sample(generator)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        degrade(image, sampled, generator).save(target)
    looked = look(list(queries.values()))
    for person, paths in people.items():
        for path in (one for one in paths if one in faces):
            by_kind = {"untouched": faces[path]} | {
                kind: same(looked[queries[kind, path]].seen, faces[path]) if queries[kind, path] in looked else None
                for kind in KINDS
                if (kind, path) in queries
            }
            photographs.append(Photograph(person, known[path], faces[path], by_kind))
    return photographs


def nearest(seen: Seen, point: np.ndarray) -> SeenFace:
    """The face whose middle is nearest to a point (x, y)."""
    return min(seen.faces, key=lambda face: np.linalg.norm(middle(face) - point))


def same(seen: Seen, face: SeenFace) -> SeenFace | None:
    """The face that lies where `face` does, if one was found there."""
    found = nearest(seen, middle(face)) if seen.faces else None
    return found if found and np.linalg.norm(middle(found) - middle(face)) < face.side / 4 else None


def middle(face: SeenFace) -> np.ndarray:
    return np.reshape(face.place.box, (2, 2)).mean(0)


def play(photographs: Sequence[Photograph], number: int, threshold: float, seed: int) -> list[Outcome]:
    """A round: the `number`th photograph of each person is looked for among the others."""
    names = sorted({one.person for one in photographs})
    rng = np.random.default_rng([seed, number])
    strangers = set(rng.permutation(names)[: len(names) // STRANGERS].tolist())
    photos, counted = Counter(one.person for one in photographs), Counter[str]()
    queries, shown = [], []
    for one in photographs:
        (queries if counted[one.person] == number and photos[one.person] > 1 else shown).append(one)
        counted[one.person] += 1
    shown = [one for one in shown if one.person not in strangers]
    whose = {id(one.face.place): one.person for one in shown}
    people = people_of(Album(tuple(one.photo for one in shown), ()), threshold)
    in_album = set(whose.values())
    return [
        outcome(kind, face, one.person, people, whose, one.person in in_album)
        for one in queries
        for kind, face in one.degraded.items()
    ]


def outcome(
    kind: str, face: SeenFace | None, person: str, people: Sequence[AlbumPerson], whose: dict[int, str], known: bool
) -> Outcome:
    if face is None:
        return Outcome(kind, known, None, 0.0, 0.0, 0.0)
    best, second, *_ = match(face.probe, face.score, people)
    labels = Counter(whose.get(id(reference.place)) for reference in best.person.references)
    label, count = labels.most_common(1)[0]
    return Outcome(kind, known, label == person, best.certainty, second.certainty, 1 - count / labels.total())


def report(outcomes: Sequence[Outcome], certainty: float, times: float) -> None:
    """Shares in % of faces of each kind; "right of those given" counts strangers, too."""
    print(
        "kind      | known: right  wrong nobody | strangers: wrong nobody | all: right of those given, wrong | foreign"
    )
    for kind in (*KINDS, "all"):
        of_kind = [one for one in outcomes if kind in (one.kind, "all")]
        given = [
            one for one in of_kind if one.right is not None and one.certainty >= max(certainty, times * one.second)
        ]
        known, strangers = (sum(one.known is known for one in of_kind) for known in (True, False))
        right = sum(one.right is True for one in given)
        wrong = sum(one.known and not one.right for one in given)
        astray = sum(not one.known for one in given)
        foreign = np.mean([one.foreign for one in given if one.right] or [0])
        print(
            f"{kind:9} | {share(right, known):12} {share(wrong, known):6} {share(known - right - wrong, known):6} | "
            f"{share(astray, strangers):16} {share(strangers - astray, strangers):6} | "
            f"{share(right, len(given)):24} {share(wrong + astray, len(of_kind)):6} | {100 * foreign:.2f}"
        )


def share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f}"


if __name__ == "__main__":
    main()
