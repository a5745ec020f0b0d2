"""The models that are measured: how one is named on the command line, loaded and labelled."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from faceref.checkpoints.info import ModelInfo, find_model, fingerprint_of
from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.compute import Compute, Memory
from faceref.errors import UsageError
from faceref.evaluation.families import BlindModel, MeasuredModel, ReferenceModel
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline


@dataclass(frozen=True)
class SamplingChanges:
    """How to sample; None: as the model's faceref.json says."""

    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    crisp: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A model and how to sample from it, e.g. `small` or `runs/a/model,steps=50,scheduler=ddim`."""

    path: str
    sampling: SamplingChanges

    @classmethod
    def parse(cls, text: str, default: SamplingChanges) -> "ModelSpec":
        """Read NAME_OR_FOLDER[,steps=N][,guidance=S][,scheduler=NAME][,crisp=C].

        Raises UsageError if it is not that.
        """
        path, *settings = text.split(",")
        sampling = default
        for setting in settings:
            key, _, value = setting.partition("=")
            try:
                sampling = replace(sampling, **{key: _SETTINGS[key](value)})
            except (KeyError, ValueError) as error:
                raise UsageError(
                    f"in {text!r} is no setting",
                    subject=repr(setting),
                    hint="write MODEL,steps=8,guidance=1.5,scheduler=ddim,crisp=0.5",
                ) from error
        return cls(path, sampling)


_SETTINGS = {"steps": int, "guidance": float, "scheduler": str, "crisp": float}


def load_models(specs: Sequence[ModelSpec], compute: Compute, *, product: bool = False) -> list[MeasuredModel]:
    """Load every model once; for the product also those that they bring along for photographs without references.

    Raises UsageError if one is named twice or their resolutions differ, if there is no such scheduler, number of steps,
    guidance or crispness, or if a model without references is to have guidance towards them; CheckpointError if one
    cannot be loaded.
    """
    paths = dict.fromkeys(spec.path for spec in specs)
    loaded = {
        path: load_pipeline(path, compute.device, compute.dtype, compute.memory, compute.backend) for path in paths
    }
    brought = paths if product else ()
    blind = {path: load_blind(path, compute.device, compute.dtype, compute.memory, compute.backend) for path in brought}
    labels = _labels(specs, {path: info.name for path, (_, info) in loaded.items()})
    models = [
        _with_sampling(*loaded[spec.path], spec, label, blind.get(spec.path), compute.memory)
        for spec, label in zip(specs, labels, strict=True)
    ]
    sizes = {model.label: model.resolution for model in models}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"Models of different sizes cannot share a table: {sizes}", hint="measure them one by one")
    return models


def _with_sampling(
    pipeline: FacePipeline,
    info: ModelInfo,
    spec: ModelSpec,
    label: str,
    blind: tuple[FacePipeline, ModelInfo] | None,
    memory: Memory,
) -> MeasuredModel:
    pipeline.use_channels_last()  # as whoever restores has it
    sampling = pipeline.defaults.changed(**asdict(spec.sampling))
    try:  # says now what it would say after an hour
        pipeline.check(sampling)
    except UsageError as error:
        raise UsageError(error.reason, subject=f"{spec.path}:", hint=error.hint, code=error.code) from error
    weights = fingerprint_of(find_model(spec.path))
    if not pipeline.takes_references:
        return BlindModel(label, cast(LDBFRPipeline, pipeline), info, sampling, weights, blind, memory)
    return ReferenceModel(label, cast(ReFLDMPipeline, pipeline), info, sampling, weights, blind, memory)


def _labels(specs: Sequence[ModelSpec], names: dict[str, str]) -> list[str]:
    """Short and different: the model's name, or its path where two share the name; then what is set."""
    if len(set(names.values())) < len(names):
        names = {path: path for path in names}
    labels = []
    for spec in specs:
        given = [f"{key}={value}" for key in _SETTINGS if (value := getattr(spec.sampling, key)) is not None]
        labels.append(" ".join([names[spec.path], *given]))
    if len(set(labels)) < len(labels):
        reason = f"One model is given twice: {', '.join(labels)}"
        raise UsageError(reason, hint="give each once, or other settings")
    return labels
