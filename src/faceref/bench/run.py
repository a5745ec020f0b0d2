"""A whole measurement: which model, which settings, which photograph; and the report of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path

import torch

from faceref.allocator import keep_freed_memory
from faceref.bench.machine import Machine
from faceref.bench.networks import network_stages
from faceref.bench.photographs import photograph_stages
from faceref.bench.random_models import REFLDM, random_refldm
from faceref.bench.report import Report, Setting, Stage
from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.compute import Compute, DtypeName
from faceref.devices import peak_flops
from faceref.errors import UsageError
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer


@dataclass(frozen=True)
class Plan:
    """What to measure: every combination of references, steps (none: the model's own), batch and number format.

    model: as `find_model` takes it; None: refldm-512's sizes with random weights. photograph: measured as well, with
    its references, in the first of the numbers of steps.
    """

    model: str | None = "small"
    references: tuple[int, ...] = (0, 1, 5)
    steps: tuple[int, ...] = ()
    batch: tuple[int, ...] = (1,)
    dtypes: tuple[DtypeName, ...] = ("float32",)
    guidance: float | None = None
    photograph: Path | None = None
    photograph_references: tuple[Path, ...] = ()
    compute: Compute = field(default_factory=Compute)
    repetitions: int = 3

    @property
    def called(self) -> str:
        """The model, as a report names it."""
        return self.model or f"{REFLDM.name}, random weights"


def run(plan: Plan, on_stage: Callable[[Stage], None] = lambda _: None) -> Report:
    """Measure. on_stage: called with each stage as soon as it is measured.

    Raises as `load_pipeline` and `photograph_stages`, UsageError for settings that the model does not take.
    """
    report = None
    for dtype in plan.dtypes:
        model, blind = _load(plan.model, replace(plan.compute, dtype=dtype))
        device = model.pipeline.execution_device
        report = report or Report(
            faceref=version("faceref"),
            model=plan.called,
            guidance=plan.guidance,
            machine=Machine.here(device),
            peak_flops={},
            backend=model.pipeline.backend,
            stages=[],
        )
        for number_format in {used.pipeline.unet.dtype for used in (model, blind)}:  # what auto is, too
            report.peak_flops[_name(number_format)] = peak_flops(device, number_format)
        for stage in _stages(plan, model, blind):
            report.stages.append(stage)
            on_stage(stage)
    assert report is not None  # there is a number format
    return report


def _load(name: str | None, compute: Compute) -> tuple[Model, Model]:
    """The model, and what restores without references: that which it brings along for it, else itself."""
    if compute.memory == "normal":
        keep_freed_memory()  # as commands do
    where = compute.device, compute.dtype, compute.memory
    if name is None:
        if compute.backend not in (None, "torch"):
            hint = "leave the backend out, or give a model"
            raise UsageError("Random weights are computed by torch alone", hint=hint)
        model = Model(random_refldm(*where), REFLDM)
        return model, model
    model = Model(*load_pipeline(name, *where, compute.backend))
    blind = load_blind(name, *where, compute.backend)
    return model, model if blind is None else Model(*blind)


def _stages(plan: Plan, model: Model, blind: Model) -> Iterator[Stage]:
    counts = plan.references if model.pipeline.takes_references else (0,)
    for references, batch in product(counts, plan.batch):
        used = model if references else blind
        for steps in plan.steps or (used.info.steps,):
            options = RestoreOptions.of(steps=steps, guidance=plan.guidance if references else None)
            sampling = used.settings(options).sampling
            setting = Setting(references=references, steps=steps, batch=batch, dtype=_name(used.pipeline.unet.dtype))
            yield from network_stages(used.pipeline, used.info.resolution, sampling, setting, plan.repetitions)
    if plan.photograph is not None:
        steps, files = plan.steps[0] if plan.steps else None, plan.photograph_references
        options = RestoreOptions.of(always=True, steps=steps, guidance=plan.guidance if files else None)
        for stage in photograph_stages(Restorer(model, blind), plan.photograph, files, options, plan.repetitions):
            yield stage.model_copy(update={"networks": _name(model.pipeline.unet.dtype)})


def _name(number_format: torch.dtype) -> str:
    return str(number_format).removeprefix("torch.")
