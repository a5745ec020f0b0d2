"""Evaluation: restore every case under every condition, measure what was saved, and remember it row by row."""

import csv
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from faceref.data.degradation import MODERATE, SEVERE, degrade
from faceref.errors import DataError, OutputError, UsageError
from faceref.evaluation.cases import Case, CaseSet, seed_for
from faceref.evaluation.faces import Centre, DescribedFace, FaceDescriber, read_face
from faceref.evaluation.learned import LearnedMetrics
from faceref.evaluation.metrics import METRICS, face_region, feature_distance, fidelity, sharpness
from faceref.evaluation.models import MeasuredModel, first_references
from faceref.faces.recognise import distance
from faceref.models.identity import FaceRecogniser
from faceref.models.reference import ReferenceCache

PRESETS = {"severe": SEVERE, "moderate": MODERATE}
STORED = "stored"  # the name of the set of LQ pictures that lie in a folder
COLUMNS = ("set", "model", "condition", "image", "identity", "group", "references", *(m.key for m in METRICS))

Row = dict[str, str | float]


@dataclass(frozen=True)
class Condition:
    """One way to restore: `references` at most are shown, of the person, of a wrong one, or as zeros."""

    key: str
    title: str
    references: int = 0
    wrong_person: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Plan:
    """What to measure. sets: names of PRESETS, or STORED where every case has an LQ file; references: at most shown."""

    sets: tuple[str, ...]
    references: int
    reference_counts: tuple[int, ...]
    seed: int
    batch_size: int
    wrong_person: bool = True  # needs a second identity
    conditions: tuple[Condition, ...] = field(init=False)

    def __post_init__(self) -> None:
        n = self.references
        conditions = [Condition("none", "no references")]
        if n:
            counts = sorted({count for count in self.reference_counts if 0 < count < n} | {n})
            conditions.append(Condition("zero", f"{n} zero references", n, zero=True))
            conditions += [Condition(f"refs-{c}", f"{c} reference{'s' * (c > 1)}", c) for c in counts]
            if self.wrong_person:
                conditions.append(Condition(f"wrong-{n}", f"{n} references of a wrong person", n, wrong_person=True))
        object.__setattr__(self, "conditions", tuple(conditions))


@dataclass(frozen=True, eq=False)
class Instruments:
    """What measures; the second recogniser and the learned metrics may be missing."""

    describer: FaceDescriber
    centre: Centre
    recogniser: FaceRecogniser | None
    learned: LearnedMetrics | None


def evaluate(
    cases: CaseSet,
    chosen: Sequence[Case],
    models: Sequence[MeasuredModel],
    plan: Plan,
    instruments: Instruments,
    out: Path,
    *,
    resume: bool = False,
) -> list[Row]:
    """Restore and measure `chosen`; returns the rows of OUT/per_image.csv, all cases complete.

    Pictures go to OUT/pictures as 8-bit PNG, and it is these that are measured. An interrupted run continues with
    `resume` if nothing that matters has changed. Raises OutputError if OUT holds results and `resume` is not given,
    UsageError if it holds those of another evaluation.
    """
    table = out / "per_image.csv"
    _claim(out, table, _settings(cases, chosen, models, plan, instruments), resume)
    expected = _expected_rows(chosen, models, plan)
    rows = _complete_rows(table, expected)
    _rewrite(table, rows)
    done = {row["image"] for row in rows}
    left = [case for case in chosen if case.name not in done]
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        batches = [left[i : i + plan.batch_size] for i in range(0, len(left), plan.batch_size)]
        for batch in track(batches, description="restoring and measuring"):
            new = _Batch(batch, cases, plan, instruments, models[0].resolution, out / "pictures").measure(models)
            writer.writerows([{k: _text(v) for k, v in row.items()} for row in new])
            file.flush()
    return read_rows(table)


def read_rows(table: Path) -> list[Row]:
    """The rows of a per_image.csv; metrics as numbers, NaN where there is none."""
    numbers = {"references", *(metric.key for metric in METRICS)}
    with table.open(newline="", encoding="utf-8") as file:
        return [
            {key: (float(value) if value else math.nan) if key in numbers else value for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


class _Batch:
    """A few cases on their way through all sets, models and conditions."""

    def __init__(
        self, batch: Sequence[Case], cases: CaseSet, plan: Plan, instruments: Instruments, size: int, pictures: Path
    ) -> None:
        self.batch, self.plan, self.instruments, self.size, self.pictures = batch, plan, instruments, size, pictures
        self.references = [case.references[: plan.references] for case in batch]
        self.wrong = []
        if any(condition.wrong_person for condition in plan.conditions):
            self.wrong = [cases.wrong_references(case, plan.references, plan.seed) for case in batch]
        files = [read_face(case.hq, size) for case in batch]
        self.truth = np.stack([file.pixels for file in files])  # uint8 [B, S, S, 3]
        self.inside = torch.from_numpy(np.stack([file.inside for file in files]))[:, None]  # [B, 1, S, S]
        self.described = self._describe([case.hq for case in batch])
        self.landmarks = [face.landmarks for face in self.described]
        self.faces = np.stack([face_region(points, size) for points in self.landmarks])  # [B, S, S]
        self.own = [self._describe(paths) for paths in self.references]
        self.rows: list[Row] = []

    def measure(self, models: Sequence[MeasuredModel]) -> list[Row]:
        plan = self.plan
        self._save("truth", self.truth)
        lq = {name: self._degraded(name) for name in plan.sets}
        for name in plan.sets:
            self._record(name, "", "lq", lq[name])
            if (enlarged := self._bicubic(name)) is not None:
                self._record(name, "", "bicubic", enlarged)
        if plan.references:
            pixels, embeddings = self._nearest_references()
            self._record("", "", "nearest-reference", pixels, embeddings=embeddings)
        for model in models:
            reconstruction, latent_shape = model.reconstruct(to_tensor(self.truth))
            self._record("", model.label, "autoencoder", to_pixels(reconstruction))
            noise = self._noise(latent_shape)
            caches = self._caches(model, latent_shape)
            for name in plan.sets:
                for condition in plan.conditions:
                    guided = condition.references > 0 and not condition.zero
                    restored = model.restore(to_tensor(lq[name]), caches[condition.key], noise, guided)
                    if not restored.isfinite().all():
                        raise DataError(f"{model.label} restores {self.batch[0].name} or a neighbour to NaN.")
                    shown = self._shown(condition)
                    self._record(name, model.label, condition.key, to_pixels(restored), shown)
        return self.rows

    def _caches(self, model: MeasuredModel, latent_shape: torch.Size) -> dict[str, list[ReferenceCache]]:
        """Caches of each case for every condition; each reference goes through the network once."""
        plan = self.plan
        nothing = model.remember_nothing(latent_shape, 1)
        empty = ReferenceCache(
            nothing.layers, tuple(k[:, :0] for k in nothing.keys), tuple(v[:, :0] for v in nothing.values), 0
        )
        caches = {"none": [empty] * len(self.batch)}
        if not plan.references:
            return caches
        own = [model.remember(self._pixels(paths)) for paths in self.references]
        wrong = [model.remember(self._pixels(paths)) for paths in self.wrong]
        for condition in plan.conditions[1:]:
            if condition.zero:  # as many as the case has references
                caches[condition.key] = [model.remember_nothing(latent_shape, len(paths)) for paths in self.references]
            else:
                source = wrong if condition.wrong_person else own
                caches[condition.key] = [first_references(cache, condition.references) for cache in source]
        return caches

    def _shown(self, condition: Condition) -> list[list[DescribedFace]]:
        if condition.wrong_person:
            return [self._describe(paths) for paths in self.wrong]
        if condition.zero:
            return [[]] * len(self.batch)
        return [faces[: condition.references] for faces in self.own]

    def _record(
        self,
        set_name: str,
        model: str,
        condition: str,
        pixels: np.ndarray,
        shown: list[list[DescribedFace]] | None = None,
        embeddings: np.ndarray | None = None,
    ) -> None:
        """Save pictures uint8 [B, S, S, 3] and measure them; embeddings [B, 128] if they are known already."""
        shown = shown or [[]] * len(self.batch)
        self._save(picture_folder(set_name, model, condition), pixels)
        pictures, truth = to_tensor(pixels), to_tensor(self.truth)
        faces = torch.from_numpy(self.faces)[:, None]
        numbers = fidelity(pictures, truth, self.inside, faces)
        if self.instruments.learned is not None:
            numbers |= self.instruments.learned.measure(pictures, truth, faces)
        if self.instruments.recogniser is not None:
            numbers |= self._second_opinion(self.instruments.recogniser, pictures, truth)
        if embeddings is None:
            embeddings = self.instruments.describer.embed(pixels, self.landmarks)
        of_truth = np.stack([face.embedding for face in self.described])
        numbers |= {
            "identity_cosine": self.instruments.centre.cosine(embeddings, of_truth),
            "identity_distance": distance(embeddings, of_truth),
            "reference_distance": np.array(list(map(_mean_distance, embeddings, self.own))),
            "shown_distance": np.array(list(map(_mean_distance, embeddings, shown))),
            "sharpness": np.array(list(map(sharpness, pixels, self.faces))),
        }
        for i, case in enumerate(self.batch):
            row: Row = {"set": set_name, "model": model, "condition": condition, "references": len(shown[i])}
            row |= {"image": case.name, "identity": case.identity, "group": case.group}
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
        ranges = PRESETS[set_name].at(self.size)
        pictures = []
        for case, pixels in zip(self.batch, self.truth, strict=True):
            rng = np.random.default_rng(seed_for(self.plan.seed, case.name, set_name))
            pictures.append(np.asarray(degrade(Image.fromarray(pixels), ranges.sample(rng), rng)))
        return np.stack(pictures)

    def _bicubic(self, set_name: str) -> np.ndarray | None:
        """The inputs enlarged bicubically; None unless LQ files are smaller than the result."""
        if set_name != STORED or not any(_width(case.lq) < self.size for case in self.batch):
            return None
        return self._enlarged(cv2.INTER_CUBIC)

    def _enlarged(self, interpolation: int) -> np.ndarray:
        pictures = []
        for case in self.batch:
            assert case.lq is not None
            pixels = read_face(case.lq, min(self.size, _width(case.lq))).pixels
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

    def _noise(self, latent_shape: torch.Size) -> Tensor:
        """Starting noise [B, C, h, w]: one for each case, the same for all conditions and models."""
        noise = []
        for case in self.batch:
            generator = torch.Generator().manual_seed(seed_for(self.plan.seed, case.name, "noise"))
            noise.append(torch.randn(latent_shape, generator=generator))
        return torch.stack(noise)

    def _describe(self, paths: Sequence[Path]) -> list[DescribedFace]:
        return self.instruments.describer.photographs(paths)

    def _pixels(self, paths: Sequence[Path]) -> Tensor:
        return to_tensor(np.stack([read_face(path, self.size).pixels for path in paths]))

    def _save(self, folder: str, pixels: np.ndarray) -> None:
        for case, picture in zip(self.batch, pixels, strict=True):
            path = picture_path(self.pictures / folder, case.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, compress_level=1)


def picture_folder(set_name: str, model: str, condition: str) -> str:
    """Where below OUT/pictures the restorations of one condition lie."""
    return "/".join(part.replace("/", "_") for part in (set_name or "any", model or "controls", condition))


def picture_path(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".png")


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> np.ndarray:
    """[B, 3, S, S] about [-1, 1] -> uint8 [B, S, S, 3]."""
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _settings(
    cases: CaseSet, chosen: Sequence[Case], models: Sequence[MeasuredModel], plan: Plan, instruments: Instruments
) -> dict:
    """Everything that the rows depend on."""
    recogniser = instruments.recogniser
    return {
        "models": {
            model.label: {
                "weights": model.fingerprint,
                "steps": model.steps,
                "guidance": model.guidance,
                "scheduler": model.scheduler,
            }
            for model in models
        },
        "resolution": models[0].resolution,
        "sets": list(plan.sets),
        "conditions": [asdict(condition) for condition in plan.conditions],
        "seed": plan.seed,
        "cases": len(chosen),
        "identities": len({case.identity for case in chosen}),
        "left out": len(cases.left_out),
        "photographs": _digest(repr([(case.name, case.references, case.lq, case.group) for case in chosen])),
        "centre": {
            "source": instruments.centre.source,
            "photographs": instruments.centre.photographs,
            "mean": _digest(repr(instruments.centre.mean.tolist())),
        },
        "second recogniser": recogniser and type(recogniser).__name__,
        "learned metrics": instruments.learned is not None,
    }


def _claim(out: Path, table: Path, settings: dict, resume: bool) -> None:
    path = out / "settings.json"
    if path.exists() and not resume:
        raise OutputError(f"{out} holds an evaluation; give --resume to continue it, or another folder.")
    if path.exists():
        before = json.loads(path.read_text())
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise UsageError(f"{out} holds an evaluation with other {', '.join(changed)}; give another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2) + "\n")
        table.touch()
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}); choose another folder.") from error


def _expected_rows(chosen: Sequence[Case], models: Sequence[MeasuredModel], plan: Plan) -> dict[str, int]:
    """How many rows each case gets."""
    controls = len(plan.sets) + bool(plan.references)  # LQ inputs, nearest reference
    rows = controls + len(models) * (1 + len(plan.sets) * len(plan.conditions))  # 1: the autoencoder
    return {case.name: rows for case in chosen}


def _complete_rows(table: Path, expected: dict[str, int]) -> list[dict[str, str]]:
    """Rows of an interrupted run that belong to completely measured cases."""
    by_image: dict[str, list[dict[str, str]]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if None not in row.values():  # a line cut off in the middle
                by_image[row["image"]].append(row)
    complete = [rows for image, rows in by_image.items() if len(rows) >= expected.get(image, math.inf)]
    return [row for rows in complete for row in rows]


def _rewrite(table: Path, rows: list[dict[str, str]]) -> None:
    partial = table.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(table)


def _mean_distance(embedding: np.ndarray, faces: Sequence[DescribedFace]) -> float:
    if not faces:
        return math.nan
    return float(np.mean([distance(embedding, face.embedding) for face in faces]))


def _width(path: Path | None) -> int:
    assert path is not None
    with Image.open(path) as image:
        return image.width


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
