"""Models that are measured, by family: under which conditions each restores, what it restores then, and how fast."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.checkpoints.info import ModelInfo
from faceref.compute import Memory
from faceref.evaluation.conditions import (
    BLIND_CONDITIONS,
    NO_REFERENCES,
    STAGE_1,
    Condition,
    Plan,
    reference_conditions,
    with_product,
)
from faceref.evaluation.faces import read_face
from faceref.evaluation.pictures import to_tensor
from faceref.evaluation.restorer import Batch, MeasuredRestorer, Photographs, Restoration, timed
from faceref.models.autoencoder import decode, encode
from faceref.models.reference import ReferenceCache
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.settings import Sampling


@dataclass(frozen=True, eq=False)
class MeasuredModel(MeasuredRestorer):
    """A loaded model with the sampling it is measured with; `fingerprint` is of its networks.

    blind: the one that it brings along for photographs without references, which the product restores with.
    """

    label: str
    pipeline: FacePipeline
    info: ModelInfo
    sampling: Sampling
    fingerprint: str
    blind: tuple[FacePipeline, ModelInfo] | None = None
    memory: Memory = "normal"

    @property
    def device(self) -> torch.device:
        return self.pipeline.execution_device

    @property
    def resolution(self) -> int:
        return self.info.resolution

    @property
    def settings(self) -> dict[str, str | float]:
        """What its results depend on, by name."""
        has = {name: value for name, value in asdict(self.sampling).items() if value is not None}
        if not self.pipeline.takes_references:
            del has["guidance"]
        dtype = self.pipeline.unet.dtype
        rounded = {} if dtype == torch.float32 else {"dtype": str(dtype).removeprefix("torch.")}
        elsewhere = {} if self.pipeline.backend == "torch" else {"backend": self.pipeline.backend}
        slower = {} if self.memory == "normal" else {"memory": self.memory}
        return {"weights": self.fingerprint, **has, **rounded, **elsewhere, **slower}

    @torch.no_grad()
    def ceiling(self, truth: Tensor) -> Tensor:
        """What the autoencoder makes of the truth [B, 3, S, S] in [-1, 1]: the same shape."""
        decoded = decode(self.pipeline.vae, self._latents(truth)).float()
        return F.interpolate(decoded, size=truth.shape[-2:], mode="bicubic")

    @cached_property
    @torch.no_grad()
    def latent_shape(self) -> torch.Size:
        """Of one face: [C, h, w]."""
        return self._latents(torch.zeros(1, 3, self.resolution, self.resolution)).shape[1:]

    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return with_product(self.bare_conditions(plan), plan)

    @abstractmethod
    def bare_conditions(self, plan: Plan) -> tuple[Condition, ...]:
        """The ways in which the pipeline alone restores."""

    def _latents(self, pictures: Tensor) -> Tensor:
        return encode(self.pipeline.vae, self.pipeline.shrink(pictures.to(self.device, self.pipeline.vae.dtype)))


@dataclass(frozen=True, eq=False)
class ReferenceModel(MeasuredModel):
    """A model of the family refldm, with its guidance towards the references."""

    pipeline: ReFLDMPipeline

    def bare_conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return reference_conditions(plan)

    def restorations(self, plan: Plan, batch: Batch) -> Iterator[Restoration]:
        noise = batch.noise(self.latent_shape)
        memories = self._memories(plan, batch.photographs, noise)
        for set_name, faces in batch.lq.items():
            for condition in self.bare_conditions(plan):
                memory = memories[condition.key]
                pictures, seconds = timed(self.device, partial(self._restore, faces, memory, noise, condition))
                encoding = np.array([person.seconds for person in memory])
                yield Restoration(set_name, condition, pictures, seconds / len(faces) + encoding)

    def _restore(self, lq: Tensor, memory: Sequence["_Memory"], noise: Tensor, condition: Condition) -> Tensor:
        alone = condition.zero or not condition.count
        sampling = replace(self.sampling, guidance=1.0) if alone else self.sampling
        return self.pipeline(
            lq, [person.cache for person in memory], latents=noise, output_type="raw", **sampling.arguments()
        ).images  # type: ignore[return-value]

    def _memories(self, plan: Plan, photographs: Photographs, noise: Tensor) -> dict[str, list["_Memory"]]:
        """What is remembered of each case's references under every condition; each is encoded once."""
        nothing = self._remember_nothing(noise)
        own, wrong = (list(map(self._remember, paths)) for paths in (photographs.own, photographs.wrong))
        memories = {}
        for condition in self.bare_conditions(plan):
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
        return _Memory(*timed(self.device, partial(self.pipeline.encode_references, pixels)))

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
        return _Memory(self.cache.first(count), self.seconds * count / len(self.cache))

    def times(self, count: int) -> "_Memory":
        """Of one reference, as if it had been given `count` times."""
        counts = torch.full((1, 1), float(count), device=self.cache.keys[0].device)
        return replace(self, cache=self.cache.with_multiplicity(counts))


@dataclass(frozen=True, eq=False)
class BlindModel(MeasuredModel):
    """A model of the family ldbfr: it is shown no references."""

    pipeline: LDBFRPipeline

    def bare_conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return BLIND_CONDITIONS

    def restorations(self, plan: Plan, batch: Batch) -> Iterator[Restoration]:
        noise = batch.noise(self.latent_shape)
        for set_name, faces in batch.lq.items():
            work = {
                NO_REFERENCES: partial(self._restore, faces, noise),
                STAGE_1: partial(self.pipeline.restore_stage1, faces),
            }
            for condition in self.bare_conditions(plan):
                pictures, seconds = timed(self.device, work[condition])
                yield Restoration(set_name, condition, pictures, np.full(len(faces), seconds / len(faces)))

    def _restore(self, lq: Tensor, noise: Tensor) -> Tensor:
        return self.pipeline(lq, latents=noise, output_type="raw", **self.sampling.arguments()).images  # type: ignore[return-value]
