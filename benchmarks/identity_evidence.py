"""Which evidence tells who a severely degraded face is: LFW's validation people, each against all the others.

    python benchmarks/identity_evidence.py data/lfw128

The face as it is, averaged with its mirror image or with shifted and scaled looks, and restored without references; the
references as they are, mirrored, or degraded like the face. Printed: how often a stranger is farther than the person
(AUC), and how many of the people are refused where so many strangers pass.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from product_steps import REFERENCES, SIZE, Degraded, degraded_faces

from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.data.degradation import SEVERE, degrade
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.restore.faces import FoundFace
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions

STRANGERS = (0.005, 0.05, 0.2, 0.4)
LOOKS = ((0.03, 0, 1), (-0.03, 0, 1), (0, 0.03, 1), (0, -0.03, 1), (0, 0, 1.06), (0, 0, 0.94))  # shift, scale
PEOPLE = ("as they are", "mirror", "degraded")
COMBINED = {  # of a face: the mean of embeddings
    "its probe": ("its probe",),
    "as it is": ("as it is",),
    "as it is and mirrored": ("as it is", "mirror"),
    "seven looks": ("as it is", "looks"),
    "blindly restored": ("blind",),
    "as it is and blindly restored": ("as it is", "blind"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recogniser, landmarker = TorchDlibRecogniser(), DlibDetector()
    blind, rng = Model(*(load_blind("small") or load_pipeline("small"))), np.random.default_rng(arguments.seed)
    cases = degraded_faces(arguments.folder, arguments.people, arguments.seed, recogniser)
    found = [(one, one.face) for one in cases if one.face]
    faces = [embeddings_of_face(face, recogniser, landmarker, blind) for _, face in found]
    people = [embeddings_of_person(one, recogniser, landmarker, rng) for one, _ in found]
    print(f"{len(found)} faces\n| face | references | AUC | refused where 0.5 / 5 / 20 / 40 % of strangers pass |")
    for name, parts in COMBINED.items():
        embedded = np.stack([np.concatenate([face[part] for part in parts]).mean(0) for face in faces])
        for kind in PEOPLE:
            kinds = ("as they are", "mirror") if kind == "mirror" else (kind,)
            centres = np.stack([np.concatenate([person[one] for one in kinds]).mean(0) for person in people])
            report(name, kind, np.linalg.norm(embedded[:, None] - centres, axis=-1))
    single = np.stack([face["as it is"][0] for face in faces])
    nearest = [np.linalg.norm(single[:, None] - person["as they are"], axis=-1).min(1) for person in people]
    report("as it is", "the nearest one", np.stack(nearest, axis=1))


def embeddings_of_face(
    face: FoundFace, recogniser: TorchDlibRecogniser, landmarker: DlibDetector, blind: Model
) -> dict[str, np.ndarray]:
    """Embeddings [N, 128] of the face by the way it is seen."""
    crop = face.crop.image
    points = landmarks_of_aligned(crop, landmarker)
    centre, width = points.mean(0), np.ptp(points[:, 0])
    looks = [(points - centre) * scale + centre + np.array(shift) * width for *shift, scale in LOOKS]
    drawn = blind.restore([crop], [None], blind.settings(RestoreOptions()), lambda _: None)[0]
    return {
        "its probe": face.probe[None],
        "as it is": face.embedding[None],
        "mirror": recogniser.embed_aligned([ImageOps.mirror(crop)]),
        "looks": recogniser.embed_batch([crop] * len(looks), looks),
        "blind": recogniser.embed_aligned([drawn]),
    }


def embeddings_of_person(
    case: Degraded, recogniser: TorchDlibRecogniser, landmarker: DlibDetector, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Embeddings [references, 128] of the references by PEOPLE."""
    references = [one.face for one in case.person.references[:REFERENCES]]
    small = [one.resize((SIZE, SIZE), Image.Resampling.LANCZOS) for one in references]
    landmarks = [landmarks_of_aligned(one, landmarker) for one in small]
    degraded = [degrade(one, SEVERE.at(SIZE).sample(rng), rng) for one in small]
    return {
        "as they are": case.person.embeddings,
        "mirror": recogniser.embed_aligned([ImageOps.mirror(one) for one in references]),
        "degraded": recogniser.embed_batch(degraded, landmarks),
    }


def report(face: str, references: str, distances: np.ndarray) -> None:
    """A row for distances [P, P] of faces to people."""
    strangers, own = distances[~np.eye(len(distances), dtype=bool)], np.diag(distances)
    auc = np.mean(strangers > own[:, None])
    refused = [100 * np.mean(own > np.quantile(strangers, share)) for share in STRANGERS]
    print(f"| {face} | {references} | {auc:.3f} | {' / '.join(f'{one:.0f}' for one in refused)} |")


if __name__ == "__main__":
    main()
