"""Training data: photographs decoded once, five references each, and batches made of them on the device.

Workers only look up bytes; degradation, augmentation and flips happen in `make_batch`, in batches, on the device.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from faceref.data.augment import REFLDM, ReferenceAugmentation, augment_references
from faceref.data.degradation import AnyRanges, degrade_batch
from faceref.data.mapping import ReferenceEntry, ReferenceMapping, mapping_from_index
from faceref.data.table import read_table
from faceref.errors import DataError
from faceref.pictures.aligned import open_face
from faceref.pictures.formats import PICTURE_SUFFIXES


class FaceSource(BaseModel):
    """A folder of aligned faces, and how to find references in it.

    With `mapping` (a CSV, see ReferenceMapping) that is what says so; else an index.csv in the folder (columns file,
    person, split, perhaps sharpness); else every picture in the folder is a target without references. Only an
    index.csv knows of splits; the others are taken whole, whatever split is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    mapping: Path | None = None


class FaceSample(TypedDict):
    """What FaceDataset yields; uint8, so that workers and buses carry a quarter of the bytes."""

    hq: Tensor  # uint8 [3, H, W]
    mask: Tensor  # uint8 [1, H, W], 255 inside the photograph, 0 in padding
    references: Tensor  # uint8 [R, 3, H, W], zeros if the person has no other photograph
    has_references: bool
    index: int


class FaceBatch(TypedDict):
    """What a training step sees; float32, pictures in [-1, 1]."""

    hq: Tensor  # [B, 3, H, W]
    lq: Tensor  # [B, 3, H, W]
    references: Tensor  # [B, R, 3, H, W], black where has_references is False
    has_references: Tensor  # bool [B]
    mask: Tensor  # [B, 1, H, W]: 1 inside the photograph, 0 in padding, which is to be kept out of every loss


class FaceDataset(Dataset[FaceSample]):
    """All targets of one split of several sources, in memory at the working resolution.

    Sample `key` is target `key % len(dataset)`; its references are chosen and shuffled with a generator seeded by
    (seed, key), so that the keys of SeededSampler give the same samples whether or not training was interrupted.
    `cache` is a folder for the decoded photographs, which are then mapped from disk instead of held in memory.
    """

    def __init__(
        self,
        sources: list[FaceSource],
        split: str,
        resolution: int,
        seed: int,
        reference_count: int = 5,
        cache: Path | None = None,
    ):
        """Decodes every photograph. Raises DataError if a file, a column or the whole split is missing."""
        self.seed = seed
        self.reference_count = reference_count
        position: dict[Path, int] = {}  # photograph -> row of self.photographs
        self.targets: list[int] = []
        self.references: list[tuple[int, ...]] = []
        sharpness: list[float] = []
        for source in sources:
            sharpness_of = _sharpness(source)
            for entry in _entries(source, split):
                rows = [
                    position.setdefault(source.root / f, len(position)) for f in (entry.gt_image, *entry.ref_images)
                ]
                self.targets.append(rows[0])
                self.references.append(tuple(rows[1:]))
                sharpness.append(sharpness_of.get(entry.gt_image, float("nan")))
        if not self.targets:
            raise DataError(f"No photograph of the split {split!r} in {', '.join(str(s.root) for s in sources)}.")
        self.sharpness = np.array(sharpness)
        self.photographs = _decode_all(list(position), resolution, cache)  # uint8 [N, 4, H, W]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: int) -> FaceSample:
        index = key % len(self)
        target = torch.from_numpy(self.photographs[self.targets[index]].copy())
        rows = self.choose_references(index, np.random.default_rng([self.seed, key]))
        if len(rows):
            references = torch.from_numpy(self.photographs[rows, :3].copy())
        else:
            references = torch.zeros(self.reference_count, 3, *target.shape[1:], dtype=torch.uint8)
        return {
            "hq": target[:3],
            "mask": target[3:],
            "references": references,
            "has_references": bool(len(rows)),
            "index": index,
        }

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
    augmentation: ReferenceAugmentation = REFLDM,
) -> FaceBatch:
    """Turn collated FaceSamples, on the device, into a training batch: flip, degrade, augment (Section 4 of ReF-LDM).

    In every second sample target, LQ, mask and references are flipped left-right together; `ranges` are brought to
    the pictures' width; all random numbers come from `generator`.
    """
    hq = samples["hq"].float() / 127.5 - 1
    references = samples["references"].float() / 127.5 - 1  # [B, R, 3, H, W]
    mask = samples["mask"].float() / 255
    flipped = (torch.rand(len(hq), generator=generator, device=generator.device) < 0.5).to(hq.device)
    hq = torch.where(flipped.view(-1, 1, 1, 1), hq.flip(-1), hq)
    mask = torch.where(flipped.view(-1, 1, 1, 1), mask.flip(-1), mask)
    references = torch.where(flipped.view(-1, 1, 1, 1, 1), references.flip(-1), references)
    if references.shape[1]:
        references = augment_references(references.flatten(0, 1), generator, augmentation).view_as(references)
    return {
        "hq": hq,
        "lq": degrade_batch(hq, ranges, generator),
        "references": references,
        "has_references": samples["has_references"],
        "mask": mask,
    }


def _entries(source: FaceSource, split: str) -> ReferenceMapping | list[ReferenceEntry]:
    if source.mapping is not None:
        return ReferenceMapping.read(source.mapping)
    index = source.root / "index.csv"
    if index.exists():
        return mapping_from_index(index, split)
    if not source.root.is_dir():
        raise DataError(f"{source.root} is not a folder; give the folder of the aligned faces.")
    names = sorted(p.name for p in source.root.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not names:
        raise DataError(f"{source.root} holds neither an index.csv nor pictures.")
    return [ReferenceEntry(name, ()) for name in names]


def _sharpness(source: FaceSource) -> dict[str, float]:
    """The sharpness column of the source's index by file name; empty without one."""
    index = source.root / "index.csv"
    if not index.exists():
        return {}
    try:
        return {row["file"]: float(row["sharpness"]) for row in read_table(index, ("file",)) if row.get("sharpness")}
    except ValueError as error:
        raise DataError(f"{index}: a sharpness is no number ({error}); correct it or take the column out.") from error


def _decode_all(paths: list[Path], resolution: int, cache: Path | None) -> np.ndarray:
    """uint8 [N, 4, H, W]: RGB and the alpha channel as the mask; from the cache if it holds these very files."""
    shape = (len(paths), 4, resolution, resolution)
    if cache is None:
        photographs = np.empty(shape, np.uint8)
        _decode_into(photographs, paths, resolution)
        return photographs
    identity = [(str(path), path.stat().st_mtime_ns) for path in paths if path.exists()]
    file = cache / f"faces-{resolution}-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        try:
            _decode_into(open_memmap(partial, "w+", np.uint8, shape), paths, resolution)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(file, mmap_mode="r")


def _decode_into(photographs: np.ndarray, paths: list[Path], resolution: int) -> None:
    def decode(row: int) -> None:
        photographs[row] = _decode(paths[row], resolution)

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(paths))))


def _decode(path: Path, resolution: int) -> np.ndarray:
    """One photograph as uint8 [4, H, W], resized with antialiasing if need be."""
    image = open_face(path).convert("RGBA")
    # colours and alpha apart: resizing RGBA as a whole would weigh the colours by alpha and lose the padding's
    colours = image.convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
    alpha = image.getchannel("A").resize((resolution, resolution), Image.Resampling.BILINEAR)
    mask = np.where(np.asarray(alpha) == 255, np.uint8(255), np.uint8(0))  # what padding has touched is padding
    return np.concatenate([np.asarray(colours).transpose(2, 0, 1), mask[None]])
