"""The models that are measured: how one is named on the command line, and what it is asked to do."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from faceref.checkpoints.store import find_model, load_refldm
from faceref.errors import UsageError
from faceref.models.reference import ReferenceCache
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.sampling import SchedulerName


@dataclass(frozen=True)
class Sampling:
    """How to sample; None: as the model's faceref.json says."""

    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A model and how to sample from it, e.g. `small` or `runs/a/model,steps=50,scheduler=ddim`."""

    path: str
    sampling: Sampling

    @classmethod
    def parse(cls, text: str, default: Sampling) -> "ModelSpec":
        """Read NAME_OR_FOLDER[,steps=N][,guidance=S][,scheduler=NAME]. Raises UsageError if it is not that."""
        path, *settings = text.split(",")
        sampling = default
        for setting in settings:
            key, _, value = setting.partition("=")
            try:
                sampling = replace(sampling, **{key: _SETTINGS[key](value)})
            except (KeyError, ValueError) as error:
                raise UsageError(
                    f"{setting!r} in {text!r} is no setting; write MODEL,steps=8,guidance=1.5,scheduler=ddim."
                ) from error
        return cls(path, sampling)


_SETTINGS = {"steps": int, "guidance": float, "scheduler": str}


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """A loaded model with the sampling it is measured with; `fingerprint` is of its weights."""

    label: str
    pipeline: ReFLDMPipeline
    resolution: int
    steps: int
    guidance: float
    scheduler: SchedulerName
    fingerprint: str

    @property
    def device(self) -> torch.device:
        return self.pipeline.device

    def reconstruct(self, truth: Tensor) -> tuple[Tensor, torch.Size]:
        """What the autoencoder makes of the truth [B, 3, H, W] in [-1, 1]: the same shape; and a latent's shape."""
        with torch.no_grad():
            latents = self.pipeline.vae.encode(truth.to(self.device)).latents
            return self.pipeline.vae.decode(latents).sample.float(), latents.shape[1:]

    def remember(self, references: Tensor) -> ReferenceCache:
        """The cache of one person's references [N, 3, H, W] in [-1, 1]."""
        return self.pipeline.encode_references(references.to(self.device))

    @torch.no_grad()
    def remember_nothing(self, latent_shape: torch.Size) -> ReferenceCache:
        """The cache of one zero latent: what guidance subtracts, what training drops out to."""
        zeros = torch.zeros(1, 1, *latent_shape, device=self.device, dtype=self.pipeline.unet.dtype)
        return self.pipeline.unet.encode_references(zeros)

    def restore(self, lq: Tensor, caches: Sequence[ReferenceCache], noise: Tensor, guided: bool) -> Tensor:
        """Restore faces [B, 3, H, W] in [-1, 1] from starting noise [B, C, h, w]; `caches` may hold no references."""
        return self.pipeline(
            lq,
            list(caches),
            guidance=self.guidance if guided else 1.0,
            steps=self.steps,
            scheduler=self.scheduler,
            latents=noise,
            output_type="pt",
        ).images  # type: ignore[return-value]


def first_references(cache: ReferenceCache, count: int) -> ReferenceCache:
    """The first `count` references of a cache in which each counts once; 0 leaves an empty cache."""
    count = min(count, len(cache))

    def narrow(tokens: Tensor) -> Tensor:
        return tokens[:, : tokens.shape[1] // len(cache) * count]  # [B, N * tokens, C] -> [B, count * tokens, C]

    return replace(
        cache, keys=tuple(map(narrow, cache.keys)), values=tuple(map(narrow, cache.values)), references=count
    )


def load_models(specs: Sequence[ModelSpec], device: torch.device) -> list[MeasuredModel]:
    """Load every model once.

    Raises UsageError if one is named twice or their resolutions differ, CheckpointError if one cannot use references.
    """
    loaded = {path: load_refldm(path, device) for path in dict.fromkeys(spec.path for spec in specs)}
    labels = _labels(specs, {path: info.name for path, (_, info) in loaded.items()})
    models = []
    for spec, label in zip(specs, labels, strict=True):
        pipeline, info = loaded[spec.path]
        pipeline.set_progress_bar_config(disable=True)
        sampling = spec.sampling
        scheduler = sampling.scheduler or info.scheduler
        if scheduler not in get_args(SchedulerName):
            raise UsageError(
                f"There is no scheduler {scheduler!r}; choose one of {', '.join(get_args(SchedulerName))}."
            )
        models.append(
            MeasuredModel(
                label,
                pipeline,
                info.resolution,
                info.steps if sampling.steps is None else sampling.steps,
                info.guidance if sampling.guidance is None else sampling.guidance,
                cast(SchedulerName, scheduler),
                fingerprint(find_model(spec.path)),
            )
        )
    sizes = {model.label: model.resolution for model in models}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"Models of different sizes cannot share a table: {sizes}; measure them one by one.")
    return models


def fingerprint(folder: Path) -> str:
    """Of all weights and the sampling schedule in a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")) + sorted(folder.glob("scheduler/*.json")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _labels(specs: Sequence[ModelSpec], names: dict[str, str]) -> list[str]:
    """Short and different: the model's name, or its path where two share the name; then what is set."""
    if len(set(names.values())) < len(names):
        names = {path: path for path in names}
    labels = []
    for spec in specs:
        given = [f"{key}={value}" for key in _SETTINGS if (value := getattr(spec.sampling, key)) is not None]
        labels.append(" ".join([names[spec.path], *given]))
    if len(set(labels)) < len(labels):
        raise UsageError(f"One model is given twice: {', '.join(labels)}; give each once, or other settings.")
    return labels
