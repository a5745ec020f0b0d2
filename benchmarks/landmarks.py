"""What landmarks on free terms cost: the tables of docs/evaluation.md.

    python benchmarks/landmarks.py data/celebref9-512/people --photographs 4 --restored 1

Where dlib's landmarks, the mesh's and MTCNN's five points put an aligned face, untouched and degraded, against dlib's
on the untouched one; how far the recogniser's embedding moves; and, with --restored, how like the truth `small` makes N
severely degraded photographs of each person with dlib's landmarks and with the mesh's, the whole way through.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from faceref.data.degradation import MODERATE, SEVERE, degrade
from faceref.data.lq_set import seed_for
from faceref.errors import NoFaceError
from faceref.evaluation.faces import Centre
from faceref.evaluation.product import in_a_photograph
from faceref.faces.align import Alignment, ffhq_quad
from faceref.faces.detect import LANDMARKERS, DlibDetector, MeshLandmarker
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.faces.mtcnn import Mtcnn, pyramid
from faceref.faces.recognise import DlibRecogniser, distance
from faceref.pictures.cut import cut_out
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

PRESETS = {"untouched": None, "moderate": MODERATE, "severe": SEVERE}
SIZE, REFERENCES, SEED = 256, 5, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, help="folder of folders of aligned faces, a person each")
    parser.add_argument("--photographs", type=int, default=6, help="of each person, at most")
    parser.add_argument("--restored", type=int, default=0, help="photographs of each person that are restored, too")
    arguments = parser.parse_args()
    people = [_pictures(folder) for folder in sorted(arguments.people.iterdir()) if folder.is_dir()]
    paths = [path for pictures in people for path in pictures[: arguments.photographs]]
    Console().print(placed(paths))
    if arguments.restored:
        Console().print(restored(people, arguments.restored))


def placed(paths: list[Path]) -> Table:
    """A row for each degradation and way to place: means over the photographs."""
    dlib, mesh, mtcnn, recogniser = DlibDetector(), MeshLandmarker(), Mtcnn(), DlibRecogniser()
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for path in paths:
        truth = _open(path)
        true = landmarks_of_aligned(truth, dlib)
        embedding = recogniser.embed(truth, true)
        for preset in PRESETS:
            face = _degraded(truth, path, preset)
            for name, landmarker in (("dlib", dlib), ("mesh", mesh)):
                points = landmarks_of_aligned(face, landmarker)
                away = np.linalg.norm(points - true, axis=1).mean() / _between_eyes(true)
                moved = float(distance(recogniser.embed(truth, points), embedding))
                found[preset, name].append((away, _shifted(points, true), moved))
            if (five := _five_points(face, mtcnn)) is not None:
                found[preset, "five points"].append((np.nan, _shifted(five, true), np.nan))
    table = Table("", "landmarks", "faces", "off (of the eyes' distance)", "corners off (of the side)", "embedding")
    for (preset, name), rows in found.items():
        off, corners, moved = np.mean(rows, axis=0)
        table.add_row(preset, name, str(len(rows)), f"{off:.3f}", f"{corners:.3f}", f"{moved:.3f}")
    return table


def restored(people: list[list[Path]], count: int) -> Table:
    """Identity of severely degraded photographs, restored with others of the person, by what placed the landmarks."""
    dlib, recogniser, centre = DlibDetector(), DlibRecogniser(), Centre.shipped()
    table = Table("landmarks", "photographs", "not restored", "identity of the input", "restored", "standard error")
    for name, load in LANDMARKERS.items():
        restorer = Restorer.from_pretrained(landmarker=load())
        cosines, missed = [], 0
        for pictures in people:
            for number, path in enumerate(pictures[:count]):
                references = [one for one in pictures if one != path][:REFERENCES]
                truth = _open(path)
                true = landmarks_of_aligned(truth, dlib)
                face = _degraded(truth, path, "severe")
                photo, box = in_a_photograph(np.asarray(face))
                try:
                    person = restorer.person(references, RestoreOptions(aligned=True))
                    photo_restored = restorer.restore(photo, [person], RestoreOptions(seed=number, always=True)).image
                except NoFaceError:
                    photo_restored, missed = photo, missed + 1
                result = cut_out(photo_restored.convert("RGB"), box)
                embeddings = recogniser.embed_batch([truth, face, result], [true] * 3)
                cosines.append(centre.cosine(embeddings[1:], embeddings[0]))
        before, after = np.mean(cosines, axis=0)
        error = np.std([one[1] for one in cosines]) / np.sqrt(len(cosines))
        table.add_row(name, str(len(cosines)), str(missed), f"{before:.3f}", f"{after:.3f}", f"{error:.3f}")
    return table


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _degraded(face: Image.Image, path: Path, preset: str) -> Image.Image:
    if (ranges := PRESETS[preset]) is None:
        return face
    rng = np.random.default_rng(seed_for(SEED, f"{path.parent.name}/{path.name}", preset))
    return degrade(face, ranges.at(SIZE).sample(rng), rng)


def _five_points(face: Image.Image, mtcnn: Mtcnn) -> np.ndarray | None:
    """Those of 68 points that FFHQ's alignment looks at, from MTCNN's five; None where it finds no face."""
    found = mtcnn.find(pyramid(np.asarray(face)), SIZE / 4, 0.5)
    if not len(found.scores):
        return None
    five = found.points[found.scores.argmax()] - 0.5
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48], points[54] = five[0], five[1], five[3], five[4]
    return points


def _between_eyes(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))


def _shifted(points: np.ndarray, true: np.ndarray) -> float:
    """How far the corners of FFHQ's square lie from where they should."""
    quad = ffhq_quad(true)
    return float(np.linalg.norm(ffhq_quad(points) - quad, axis=1).mean() / Alignment(quad, SIZE).side)


if __name__ == "__main__":
    main()
