"""Models that are measured, by family: under which conditions each restores, what it restores then, and how fast."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.checkpoints.info import ModelInfo
from faceref.evaluation.conditions import (
    BLIND_CONDITIONS,
    NO_REFERENCES,
    STAGE_1,
    Condition,
    Plan,
    reference_conditions,
)
from faceref.evaluation.faces import read_face
from faceref.evaluation.pictures import to_tensor
from faceref.models.autoencoder import decode, encode
from faceref.models.reference import ReferenceCache
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.scheduler_name import SchedulerName

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Restoration:
    """What a model makes of a batch of B faces of one set under one condition.

    pictures: float32 [B, 3, S, S], about [-1, 1]. seconds: float64 [B], of each face: its share of the batch's time,
    and the time that the encoding of its references took.
    """

    set: str
    condition: Condition
    pictures: Tensor
    seconds: np.ndarray


@dataclass(frozen=True)
class Photographs:
    """What to show for each of a few faces: photographs of the person and of a wrong one; empty if none are shown."""

    own: Sequence[Sequence[Path]]
    wrong: Sequence[Sequence[Path]]


@dataclass(frozen=True, eq=False)
class MeasuredModel(ABC):
    """A loaded model with the sampling it is measured with; `fingerprint` is of its weights."""

    label: str
    pipeline: FacePipeline
    info: ModelInfo
    steps: int
    scheduler: SchedulerName
    fingerprint: str

    @property
    def device(self) -> torch.device:
        return self.pipeline.execution_device

    @property
    def resolution(self) -> int:
        return self.info.resolution

    @property
    def settings(self) -> dict[str, str | float]:
        """What its results depend on, by name."""
        dtype = self.pipeline.unet.dtype
        rounded = {} if dtype == torch.float32 else {"dtype": str(dtype).removeprefix("torch.")}
        return {"weights": self.fingerprint, **self.sampling, **rounded}

    @property
    def sampling(self) -> dict[str, Any]:
        """Steps and scheduler, and guidance where the model has it."""
        return {"steps": self.steps, "scheduler": self.scheduler}

    @torch.no_grad()
    def reconstruct(self, truth: Tensor) -> tuple[Tensor, torch.Size]:
        """What the autoencoder makes of the truth [B, 3, H, W] in [-1, 1]: the same shape; and a latent's shape."""
        latents = encode(self.pipeline.vae, self.pipeline.shrink(truth.to(self.device, self.pipeline.vae.dtype)))
        decoded = decode(self.pipeline.vae, latents).float()
        return F.interpolate(decoded, size=truth.shape[-2:], mode="bicubic"), latents.shape[1:]

    @abstractmethod
    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        """The ways in which it restores."""

    @abstractmethod
    def restorations(
        self, plan: Plan, lq: Mapping[str, Tensor], noise: Tensor, photographs: Photographs
    ) -> Iterator[Restoration]:
        """Restore a batch under every condition.

        lq: the faces [B, 3, S, S] in [-1, 1] of every set, by its name. noise: to start from, [B, C, h, w].
        """


@dataclass(frozen=True, eq=False)
class ReferenceModel(MeasuredModel):
    """A model of the family refldm, with its guidance towards the references."""

    pipeline: ReFLDMPipeline
    guidance: float

    @property
    def sampling(self) -> dict[str, Any]:
        crispness = {} if self.info.crisp is None else {"crisp": self.info.crisp}
        return super().sampling | {"guidance": self.guidance} | crispness

    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return reference_conditions(plan)

    def restorations(
        self, plan: Plan, lq: Mapping[str, Tensor], noise: Tensor, photographs: Photographs
    ) -> Iterator[Restoration]:
        memories = self._memories(plan, photographs, noise)
        for set_name, faces in lq.items():
            for condition in self.conditions(plan):
                memory = memories[condition.key]
                pictures, seconds = _timed(self.device, partial(self._restore, faces, memory, noise, condition))
                encoding = np.array([person.seconds for person in memory])
                yield Restoration(set_name, condition, pictures, seconds / len(faces) + encoding)

    def _restore(self, lq: Tensor, memory: Sequence["_Memory"], noise: Tensor, condition: Condition) -> Tensor:
        return self.pipeline(
            lq,
            [person.cache for person in memory],
            guidance=1.0 if condition.zero or not condition.count else self.guidance,
            steps=self.steps,
            scheduler=self.scheduler,
            crisp=self.info.crisp,
            latents=noise,
            output_type="pt",
        ).images  # type: ignore[return-value]

    def _memories(self, plan: Plan, photographs: Photographs, noise: Tensor) -> dict[str, list["_Memory"]]:
        """What is remembered of each case's references under every condition; each is encoded once."""
        nothing = self._remember_nothing(noise)
        own, wrong = (list(map(self._remember, paths)) for paths in (photographs.own, photographs.wrong))
        memories = {}
        for condition in self.conditions(plan):
            if not condition.count:
                memories[condition.key] = [nothing.first(0)] * len(noise)
            elif condition.zero:  # as many as the case has references
                memories[condition.key] = [nothing.times(len(paths)) for paths in photographs.own]
            else:
                source = wrong if condition.wrong_person else own
                memories[condition.key] = [person.first(condition.count) for person in source]
        return memories

    def _remember(self, paths: Sequence[Path]) -> "_Memory":
        pixels = to_tensor(np.stack([read_face(path, self.resolution).pixels for path in paths]))
        return _Memory(*_timed(self.device, partial(self.pipeline.encode_references, pixels)))

    @torch.no_grad()
    def _remember_nothing(self, noise: Tensor) -> "_Memory":
        """One zero latent: what guidance subtracts, what training drops out to. It is encoded once for everybody."""
        zeros = torch.zeros_like(noise[:1, None], device=self.device, dtype=self.pipeline.unet.dtype)
        return _Memory(self.pipeline.unet.encode_references(zeros), seconds=0)


@dataclass(frozen=True, eq=False)
class _Memory:
    """The cache of one person's references, each counting once, and the seconds that their encoding took."""

    cache: ReferenceCache
    seconds: float

    def first(self, count: int) -> "_Memory":
        """Of the first `count` references alone, each of which takes equally long; 0 leaves an empty cache."""
        count = min(count, len(self.cache))

        def narrow(tokens: Tensor) -> Tensor:
            return tokens[:, : tokens.shape[1] // len(self.cache) * count]  # [B, N * tokens, C] -> [B, count * ...]

        keys, values = tuple(map(narrow, self.cache.keys)), tuple(map(narrow, self.cache.values))
        cache = replace(self.cache, keys=keys, values=values, references=count)
        return _Memory(cache, self.seconds * count / len(self.cache))

    def times(self, count: int) -> "_Memory":
        """Of one reference, as if it had been given `count` times."""
        counts = torch.full((1, 1), float(count), device=self.cache.keys[0].device)
        return replace(self, cache=self.cache.with_multiplicity(counts))


@dataclass(frozen=True, eq=False)
class BlindModel(MeasuredModel):
    """A model of the family ldbfr: it is shown no references."""

    pipeline: LDBFRPipeline

    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return BLIND_CONDITIONS

    def restorations(
        self, plan: Plan, lq: Mapping[str, Tensor], noise: Tensor, photographs: Photographs
    ) -> Iterator[Restoration]:
        for set_name, faces in lq.items():
            work = {
                NO_REFERENCES: partial(self._restore, faces, noise),
                STAGE_1: partial(self.pipeline.restore_stage1, faces),
            }
            for condition in self.conditions(plan):
                pictures, seconds = _timed(self.device, work[condition])
                yield Restoration(set_name, condition, pictures, np.full(len(faces), seconds / len(faces)))

    def _restore(self, lq: Tensor, noise: Tensor) -> Tensor:
        return self.pipeline(lq, steps=self.steps, scheduler=self.scheduler, latents=noise, output_type="pt").images  # type: ignore[return-value]


def _timed(device: torch.device, work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` gives, and the seconds until the device has done it."""
    _wait_for(device)
    start = time.perf_counter()
    result = work()
    _wait_for(device)
    return result, time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
