"""Who is given whose references on whole photographs: those of data/photos, of which it is known who is on them.

    python benchmarks/album_photos.py data/photos --work runs/album/photos

The album is people/: ten photographs of five people. The photographs of group/ are looked for in it, as `faceref
restore --ref ALBUM` does; some of them are cut from a photograph of the album, which is left out for them as their own.
A line for each face, then how many were right, wrong and nobody's.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.faces.detect import load_detector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.people.album import AlbumPhoto, read_album
from faceref.people.album_index import AlbumIndex
from faceref.people.album_people import AlbumPerson, people_of
from faceref.people.matching import is_sure, match
from faceref.people.seen import SeenFace

# Who is on a photograph, and where from left (0) to right (1); nobody else on it is in the album
LABELS: dict[str, dict[str, float]] = {
    "32bit.png": {"obama": 0.55},
    "kit_with_rose.jpg": {"rose": 0.26},
    "obama_and_biden.jpg": {"biden": 0.43, "obama": 0.61},
    "obama_partial_face.jpg": {"obama": 0.2},
    "two_people.jpg": {"obama": 0.28, "biden": 0.77},
}
NEAR = 0.1  # of the width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/album/photos"), help="the index")
    arguments = parser.parse_args()
    detector, recogniser, index = load_detector(), TorchDlibRecogniser(), AlbumIndex(arguments.work)
    people = people_of(read_album([arguments.folder / "people"], detector, recogniser, index))
    for person in people:
        print("in the album:", ", ".join(names(person, arguments.folder)))
    counts = Counter[str]()
    for photo in read_album([arguments.folder / "group"], detector, recogniser, index).photos:
        embeddings = np.stack([face.embedding for face in photo.seen.faces])
        others = [left for person in people if (left := person.without_photograph(photo.seen.pixels, embeddings))]
        for face in photo.seen.faces:
            matches = match(face.embedding, face.score, others)
            given = names(matches[0].person, arguments.folder) if is_sure(matches) else []
            who = label(photo, face)
            counts[verdict(who, given)] += 1
            print(f"{photo.path.name}: {who or 'somebody else'} ({face.score:.2f}) -> {given or 'nobody'}", end=" ")
            print(f"{verdict(who, given)}; certainty {matches[0].certainty:.2f}, then {matches[1].certainty:.2f}")
    print(dict(counts))


def names(person: AlbumPerson, folder: Path) -> list[str]:
    return [str(one.path.relative_to(folder / "people")) for one in person.references]


def label(photo: AlbumPhoto, face: SeenFace) -> str | None:
    """Who it is, None for nobody of the album."""
    with Image.open(photo.path) as opened:
        width = opened.width
    left, _, right, _ = face.place.box
    where = (left + right) / 2 / width
    return next((who for who, x in LABELS[photo.path.name].items() if abs(where - x) < NEAR), None)


def verdict(who: str | None, given: list[str]) -> str:
    """The names of the album's files say who is on them."""
    if not given:
        return "nobody's, rightly" if who is None else "in the album, and given nobody's"
    return "right" if who is not None and all(who in name for name in given) else "wrong"


if __name__ == "__main__":
    main()
