"""Where the product loses identity beside the bare pipeline: severely degraded faces of LFW's validation people.

    python benchmarks/product_steps.py data/lfw128

One photograph of each person with several is degraded, put into a photograph as `faceref evaluate --product` does and
restored there with up to five others. Rows leave out what protects the photograph, or the refusal. Identity as in
`evaluate`: centred cosine to the truth, at the truth's landmarks.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from faceref.checkpoints.store import load_pipeline
from faceref.data.degradation import SEVERE, degrade
from faceref.data.lq_set import seed_for
from faceref.data.table import read_table
from faceref.errors import NoFaceError
from faceref.evaluation.faces import Centre
from faceref.evaluation.product import in_a_photograph
from faceref.faces import blend, mask
from faceref.faces.detect import load_detector
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.people.matching import match
from faceref.people.person import Person
from faceref.people.references import read_person
from faceref.pictures.cut import cut_out
from faceref.pictures.photo import open_photo
from faceref.restore.chosen import LONE_FACE
from faceref.restore.faces import Assignment, FoundFace
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions
from faceref.restore.steps import compose, find_faces, restore_faces

SIZE, REFERENCES, NO_DIFFERENCE = 256, 5, (1e6, 2e6)


@dataclass(frozen=True, eq=False)
class Degraded:
    """A degraded face in a photograph, and what was found there: None if no face was."""

    truth: Image.Image
    bad: Image.Image
    photo: Image.Image
    box: tuple[int, int, int, int]
    person: Person
    face: FoundFace | None

    @property
    def is_refused(self) -> bool:
        face = self.face
        return face is None or match(face.probe, face.quality.score, [self.person])[0].certainty < LONE_FACE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recogniser, landmarker = TorchDlibRecogniser(), DlibDetector()
    cases = list(degraded_faces(arguments.folder, arguments.people, arguments.seed, recogniser))
    landmarks = [landmarks_of_aligned(one.truth, landmarker) for one in cases]
    truth, centre = recogniser.embed_batch([one.truth for one in cases], landmarks), Centre.shipped()
    model = Model(*load_pipeline("small"))
    settings = model.settings(RestoreOptions())
    found = np.array([one.face is not None for one in cases])
    print(
        f"{len(cases)} faces, {found.sum()} found, {sum(one.is_refused for one in cases if one.face)} of them refused"
    )

    def show(name: str, pictures: list[Image.Image]) -> None:
        identity = centre.cosine(recogniser.embed_batch(pictures, landmarks), truth)
        print(f"| {name} | {identity.mean():.3f} | {identity[found].mean():.3f} |")

    show("the input", [one.bad for one in cases])
    alone = [model.restore([one.bad], [one.person], settings, lambda _: None)[0] for one in cases]
    show("bare pipeline, the truth's square", alone)
    # all steps but the choice of faces
    options = RestoreOptions(always=True)
    shown = [one.face and Assignment(one.face, one.person, shown=one.person) for one in cases]
    restored = [restore_faces([one], model, model, options) if one else () for one in shown]

    def pasted() -> list[Image.Image]:
        return [
            cut_out(compose(one.face.photo, faces, options).convert("RGB"), one.box) if one.face else one.bad
            for one, faces in zip(cases, restored, strict=True)
        ]

    whole = pasted()
    show("the product", [one.bad if one.is_refused else picture for one, picture in zip(cases, whole, strict=True)])
    show("... never refused", whole)
    with patch.object(blend, "UNLIKE", NO_DIFFERENCE):
        show("... occluders painted over", pasted())
    with patch.object(mask, "MARGIN", 0.12):
        show("... a mask wider by a tenth of the square", pasted())
    with patch.object(mask, "MARGIN", 1.0), patch.object(blend, "UNLIKE", NO_DIFFERENCE):
        show("... the whole square, occluders painted over", pasted())


def degraded_faces(folder: Path, people: int, seed: int, recogniser: TorchDlibRecogniser) -> Iterator[Degraded]:
    """One photograph of each of so many validation people that have several, degraded severely and looked for."""
    of: dict[str, list[Path]] = {}
    for row in read_table(folder / "index.csv", ("file", "person", "split")):
        if row["split"] == "val":
            of.setdefault(row["person"], []).append(folder / row["file"])
    several = [(person, paths) for person, paths in of.items() if len(paths) > 1][:people]
    detector = load_detector()
    for person, paths in track(several, description="looking for faces"):
        order = np.random.default_rng(seed_for(seed, person, "order")).permutation(len(paths))
        path, *others = (paths[i] for i in order)
        rng = np.random.default_rng(seed_for(seed, path.name, "severe"))
        truth = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        bad = degrade(truth, SEVERE.at(SIZE).sample(rng), rng)
        photo, box = in_a_photograph(np.asarray(bad))
        known = read_person(others[:REFERENCES], detector, recogniser, aligned=True)
        try:
            faces = find_faces(open_photo(photo), detector, recogniser)
            face = min(faces, key=lambda face: known.distance(face.probe))
        except NoFaceError:
            face = None
        yield Degraded(truth, bad, photo, box, known, face)


if __name__ == "__main__":
    main()
