"""Training data: photographs, five references each, and batches made of them on the device.

Workers only look up bytes; degradation, augmentation and flips happen in `make_batch`, in batches, on the device.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from faceref.data.augment import (
    REFLDM,
    UNCHANGED,
    ReferenceAugmentation,
    TargetAugmentation,
    augment_references,
    augment_targets,
)
from faceref.data.copies import Copies
from faceref.data.decoded import Damaged, open_photographs
from faceref.data.mapping import ReferenceEntry, ReferenceMapping, mapping_from_index
from faceref.data.mixed_degradation import AnyRanges, degrade_batch
from faceref.data.table import read_table
from faceref.errors import DataError
from faceref.journal import fingerprint
from faceref.pictures.formats import PICTURE_SUFFIXES

log = logging.getLogger(__name__)

NAMED = 50  # damaged photographs in one sentence


class FaceSource(BaseModel):
    """A folder of aligned faces, and how to find references in it.

    With `mapping` (a CSV, see ReferenceMapping) that is what says so; else an index.csv in the folder (columns file,
    person, split, perhaps sharpness); else every picture in the folder is a target without references. Only an
    index.csv knows of splits; the others are taken whole, whatever split is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    mapping: Path | None = None
    coarse: bool = False  # smaller than the data set's resolution: no example of detail


class FaceSample(TypedDict):
    """What FaceDataset yields; uint8, so that workers and buses carry a quarter of the bytes."""

    hq: Tensor  # uint8 [3, H, W]
    mask: Tensor  # uint8 [1, H, W], 255 inside the photograph, 0 in padding
    references: Tensor  # uint8 [R, 3, H, W], zeros if the person has no other photograph
    has_references: bool
    coarse: bool  # no example of detail, see FaceSource
    index: int


class FaceBatch(TypedDict):
    """What a training step sees; float32, pictures in [-1, 1]."""

    hq: Tensor  # [B, 3, H, W]
    lq: Tensor  # [B, 3, H, W]
    references: Tensor  # [B, R, 3, H, W], black where has_references is False
    has_references: Tensor  # bool [B]
    mask: Tensor  # [B, 1, H, W]: 1 inside the photograph, 0 in padding, which is to be kept out of every loss
    coarse: Tensor  # bool [B]: only to be compared at half the size, where this photograph is as sharp as others


class FaceDataset(Dataset[FaceSample]):
    """All targets of one split of several sources, at the working resolution.

    Sample `key` is target `key % len(dataset)`; its references are chosen and shuffled with a generator seeded by
    (seed, key), so that the keys of SeededSampler give the same samples whether or not training was interrupted.
    `cache` is a folder for the decoded photographs, which are then mapped from disk; without, they are decoded when
    they are needed, and `memory_gb` GB of them kept. Targets and references that cannot be read are left out if
    `skip_damaged` is set.
    """

    def __init__(
        self,
        sources: list[FaceSource],
        split: str,
        resolution: int,
        seed: int,
        reference_count: int = 5,
        cache: Path | None = None,
        memory_gb: float = 4.0,
        skip_damaged: bool = False,
    ):
        """Decodes every photograph once, to know that it can.

        Raises DataError if a column or the whole split is missing, or naming the files that are missing or damaged.
        """
        self.seed = seed
        self.reference_count = reference_count
        position: dict[Path, int] = {}  # photograph -> row of self.photographs
        self.targets: list[int] = []
        self.references: list[tuple[int, ...]] = []
        self.coarse: list[bool] = []
        sharpness: list[float] = []
        name_of: dict[int, str] = {}  # row -> name in its source
        copies = Copies()
        for source in sources:
            sharpness_of = _sharpness(source)
            for entry in _entries(source, split):
                names = (entry.gt_image, *entry.ref_images)
                rows = [position.setdefault(source.root / name, len(position)) for name in names]
                name_of.update(zip(rows, names, strict=True))
                self.targets.append(rows[0])
                target, *others = (source.root / name for name in names)
                same = [copies.are_same(target, other) for other in others]  # what it shows would be copied
                self.references.append(tuple(row for row, is_it in zip(rows[1:], same, strict=True) if not is_it))
                self.coarse.append(source.coarse)
                sharpness.append(sharpness_of.get(entry.gt_image, float("nan")))
        if not self.targets:
            raise DataError(f"No photograph of the split {split!r} in {', '.join(str(s.root) for s in sources)}")
        self.sharpness = np.array(sharpness)
        self.photographs = open_photographs(list(position), resolution, cache, memory_gb)
        if self.photographs.damaged:
            self._leave_out(self.photographs.damaged, skip_damaged)
        left = zip(self.targets, self.references, strict=True)  # in their order, wherever the photographs lie
        self.names = fingerprint([[name_of[row] for row in (target, *rows)] for target, rows in left])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: int) -> FaceSample:
        target, references = self.rows(key)
        photograph = torch.from_numpy(self.photographs.take([target])[0])
        if len(references):
            shown = torch.from_numpy(self.photographs.take(references)[:, :3])
        else:
            shown = torch.zeros(self.reference_count, 3, *photograph.shape[1:], dtype=torch.uint8)
        return {
            "hq": photograph[:3],
            "mask": photograph[3:],
            "references": shown,
            "has_references": bool(len(references)),
            "coarse": self.coarse[key % len(self)],
            "index": key % len(self),
        }

    def rows(self, key: int) -> tuple[int, np.ndarray]:
        """Of `photographs`: the target of a sample, and its references."""
        index = key % len(self)
        return self.targets[index], self.choose_references(index, np.random.default_rng([self.seed, key]))

    def _leave_out(self, damaged: Damaged, skip: bool) -> None:
        more = [f"{len(damaged) - NAMED} more"] if len(damaged) > NAMED else []
        problems = [*list(damaged.values())[:NAMED], *more]
        if not skip:
            raise DataError(
                "; ".join(problems),
                hint="mend them or take them out, or go on without them (data.skip_damaged: true)",
                code="damaged_photographs",
            )
        log.warning("Going on without %d photographs: %s", len(damaged), "; ".join(problems))
        whole = [i for i, row in enumerate(self.targets) if row not in damaged]
        if not whole:
            raise DataError("All photographs are damaged")
        self.targets = [self.targets[i] for i in whole]
        self.references = [tuple(row for row in self.references[i] if row not in damaged) for i in whole]
        self.coarse = [self.coarse[i] for i in whole]
        self.sharpness = self.sharpness[whole]

    def choose_references(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of `photographs` to show as references of a target, shuffled; each once before any is repeated."""
        candidates = self.references[index]
        if not candidates:
            return np.empty(0, np.int64)
        rounds = max(1, -(-self.reference_count // len(candidates)))
        return np.concatenate([rng.permutation(candidates) for _ in range(rounds)])[: self.reference_count]


class SeededSampler(Sampler[int]):
    """An endless stream of keys for FaceDataset that can be continued at any point.

    Every `length` draws visit each target once, or, with `weights` [length], targets in proportion to their weight
    (with replacement). The only state is `start`, the number of samples drawn before: a sampler that starts at n
    yields what one from 0 yields after n draws.
    """

    def __init__(self, length: int, seed: int, weights: np.ndarray | None = None, start: int = 0):
        self.length = length
        self.seed = seed
        self.probabilities = None if weights is None else weights / weights.sum()
        self.start = start

    def __iter__(self) -> Iterator[int]:
        epoch, skip = divmod(self.start, self.length)
        while True:
            rng = np.random.default_rng([self.seed, epoch])
            if self.probabilities is None:
                order = rng.permutation(self.length)
            else:
                order = rng.choice(self.length, size=self.length, p=self.probabilities)
            for draw in range(skip, self.length):
                # unlike the index alone, the key also says which draw this is
                yield (epoch * self.length + draw) * self.length + int(order[draw])
            epoch, skip = epoch + 1, 0


def sharpness_weights(sharpness: np.ndarray, full: float = 500.0, least: float = 0.1) -> np.ndarray:
    """Sampling weights that grow with sharpness (variance of the Laplacian) up to 1 at `full`; unknown is sharp."""
    return np.clip(np.nan_to_num(sharpness / full, nan=1.0), least, 1.0)


@torch.no_grad()
def make_batch(
    samples: dict[str, Tensor],
    ranges: AnyRanges,
    generator: torch.Generator,
    augmentation: ReferenceAugmentation | None = REFLDM,
    of_targets: TargetAugmentation = UNCHANGED,
) -> FaceBatch:
    """Turn collated FaceSamples, on the device, into a training batch: flip, degrade, augment (Section 4 of ReF-LDM).

    In every second sample target, LQ, mask and references are flipped left-right together; `ranges` are brought to
    the pictures' width; all random numbers come from `generator`. augmentation: None leaves the references as they are.
    """
    hq = samples["hq"].float() / 127.5 - 1
    references = samples["references"].float() / 127.5 - 1  # [B, R, 3, H, W]
    mask = samples["mask"].float() / 255
    flipped = (torch.rand(len(hq), generator=generator, device=generator.device) < 0.5).to(hq.device)
    hq = torch.where(flipped.view(-1, 1, 1, 1), hq.flip(-1), hq)
    mask = torch.where(flipped.view(-1, 1, 1, 1), mask.flip(-1), mask)
    references = torch.where(flipped.view(-1, 1, 1, 1, 1), references.flip(-1), references)
    if references.shape[1] and augmentation is not None:
        references = augment_references(references.flatten(0, 1), generator, augmentation).view_as(references)
    hq, mask, moved = augment_targets(hq, mask, generator, of_targets)
    return {
        "hq": hq,
        "lq": degrade_batch(hq, ranges, generator),
        "references": references,
        "has_references": samples["has_references"],
        "mask": mask,
        "coarse": samples["coarse"] | moved,
    }


def _entries(source: FaceSource, split: str) -> ReferenceMapping | list[ReferenceEntry]:
    if source.mapping is not None:
        return ReferenceMapping.read(source.mapping)
    index = source.root / "index.csv"
    if index.exists():
        return mapping_from_index(index, split)
    if not source.root.is_dir():
        raise DataError("is not a folder", subject=source.root, hint="give the folder of the aligned faces")
    names = sorted(
        p.name for p in source.root.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".")
    )
    if not names:
        raise DataError("holds neither an index.csv nor pictures", subject=source.root)
    return [ReferenceEntry(name, ()) for name in names]


def _sharpness(source: FaceSource) -> dict[str, float]:
    """The sharpness column of the source's index by file name; empty without one."""
    index = source.root / "index.csv"
    if not index.exists():
        return {}
    try:
        return {row["file"]: float(row["sharpness"]) for row in read_table(index, ("file",)) if row.get("sharpness")}
    except ValueError as error:
        raise DataError(
            f"{index}: a sharpness is no number ({error})", hint="correct it or take the column out"
        ) from error
