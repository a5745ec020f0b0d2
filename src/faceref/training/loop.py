"""The only training loop: any stage, on one CPU, one GPU, or many of either under `torchrun` or `accelerate launch`.

A run that is stopped and resumed does what an uninterrupted one does, to the bit on a CPU. All processes do the same
after each step (`Decisions`), and the main process alone writes.
"""

import errno
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor
from torch.utils.data import Dataset

from faceref.devices import peak_flops
from faceref.errors import FacerefError, UsageError
from faceref.files import cannot_be_written, replaced_folder
from faceref.jobs import OnItem
from faceref.processes import PATIENCE, from_main, mean_of
from faceref.training.checkpoints import Best, Checkpoints, TrainingState
from faceref.training.config import LoopConfig, StageConfig
from faceref.training.config_files import save_config
from faceref.training.decisions import Decisions
from faceref.training.run_folder import CONFIG, record_start
from faceref.training.speed import SpeedWindow
from faceref.training.stages.stage import Stage
from faceref.training.trainer import Trainer
from faceref.training.validation import add_result, cut_back, validate

log = logging.getLogger(__name__)

_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of products, as accelerate casts them

ONE_PROCESS = (
    "Training in one process: accelerate launch --cpu starts no more, whatever --num_processes says. For several: "
    "ACCELERATE_USE_CPU=true torchrun --nproc-per-node N -m faceref train ..."
)


@dataclass(frozen=True)
class TrainingSummary:
    """How a call of `train` ended."""

    step: int
    finished: bool
    samples_per_second: float  # 0 where no step was trained
    gigaflops_per_sample: float
    metrics: dict[str, float]
    requeue: bool = False  # stopped by SIGUSR1: to be started again


def make_accelerator(loop: LoopConfig, run_dir: Path | None) -> Accelerator:
    """The accelerator for this process (CPU, GPU, or one of many); logs to trackers where `run_dir` is given.

    Raises UsageError if a tracker is not installed.
    """
    launched = os.environ.get("ACCELERATE_USE_CPU") == "True" and "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and "WORLD_SIZE" not in os.environ:
        log.warning(ONE_PROCESS)
    for name in loop.trackers:
        if find_spec(name) is None:
            raise UsageError(f"loop.trackers: {name} is not installed", hint=f"pip install {name}, or leave it out")
    if torch.cuda.is_available():
        # biased attention's gradients were NaN (H200, torch 2.11); matrices in TF32, as convolutions are
        torch.backends.cuda.enable_cudnn_sdp(False)
        torch.set_float32_matmul_precision("high")
    return Accelerator(
        mixed_precision=loop.precision,
        log_with=(list(loop.trackers) or None) if run_dir else None,  # type: ignore[arg-type]
        project_dir=str(run_dir) if run_dir else None,
        # a GAN's turns use one side's parameters each
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def measure(config: StageConfig, stage: Stage, dataset: Dataset, accelerator: Accelerator) -> TrainingSummary:
    """What a step costs here; nothing is written."""
    trainer = Trainer(config, stage, dataset, accelerator, None)
    flops = trainer.flops(0)
    return TrainingSummary(0, False, config.loop.batch_size / trainer.seconds(0), flops / 1e9, {})


def train(
    config: StageConfig,
    stage: Stage,
    dataset: Dataset,
    validation: Dataset,
    run_dir: Path,
    *,
    accelerator: Accelerator,
    state: TrainingState | None = None,
    max_minutes: float | None = None,
    sample_weights: np.ndarray | None = None,
    made_of: dict[str, str] | None = None,
    on_step: OnItem = lambda *_: None,
) -> TrainingSummary:
    """Train from `state` until `config.loop.steps`, `max_minutes` or a signal, whichever is first.

    `run_dir` gets config.yaml, starts.jsonl, checkpoints/, samples/, the trackers' files, and at the end model/ with
    the averaged weights. A checkpoint is left in each case; after SIGUSR1 nothing else is. made_of: recorded with the
    start (`check_made_of`). on_step: told in the main process how far it is.

    Raises CheckpointError if the state does not fit; OutputError where the disk is full; FacerefError (code "diverged")
    at the first loss, gradient, weight or result that is not finite: the checkpoints stay as they were before, and no
    model is exported.
    """
    with _full_disk_of(run_dir):
        run = _Run(config, stage, dataset, validation, run_dir, accelerator, state, sample_weights, made_of or {})
        decisions = Decisions(accelerator.device, config.loop.checkpoint_minutes, max_minutes)
        return run.until_the_end(decisions, on_step if accelerator.is_main_process else lambda *_: None)


@contextmanager
def _full_disk_of(run_dir: Path) -> Iterator[None]:
    """What others write there, as the curves, does not say where it was."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise cannot_be_written(run_dir, error) from error


class _Run:
    def __init__(
        self,
        config: StageConfig,
        stage: Stage,
        dataset: Dataset,
        validation: Dataset,
        run_dir: Path,
        accelerator: Accelerator,
        state: TrainingState | None,
        sample_weights: np.ndarray | None,
        made_of: dict[str, str],
    ) -> None:
        self.loop, self.stage, self.validation, self.run_dir = config.loop, stage, validation, run_dir
        self.accelerator = accelerator
        self.step = 0 if state is None else state.step
        self.saved = self.step  # the last step with a checkpoint
        self.checkpoints = Checkpoints(run_dir / "checkpoints", self.loop.is_milestone)
        self.trainer = Trainer(config, stage, dataset, accelerator, sample_weights, state)
        if accelerator.is_main_process:
            run_dir.mkdir(parents=True, exist_ok=True)
            save_config(config, run_dir / CONFIG)
            record_start(run_dir, self.step, self.loop, accelerator, made_of)
        self.validated = from_main(lambda: cut_back(run_dir, self.step))
        of_wandb = {"name": run_dir.name, "dir": str(run_dir), "config": config.model_dump(mode="json")}
        accelerator.init_trackers("faceref", init_kwargs={"wandb": of_wandb})
        self.flops = self.trainer.flops(self.step)
        self.peak = peak_flops(accelerator.device, _DTYPES[self.loop.precision]) * accelerator.num_processes
        self.window = SpeedWindow(self.loop.samples_per_step(accelerator.num_processes))
        self.speed = 0.0
        self.metrics: dict[str, float] = {}

    def until_the_end(self, decisions: Decisions, on_step: OnItem) -> TrainingSummary:
        loop = self.loop
        stopping, requeue = self.step >= loop.steps, False
        with decisions.listening():
            if self.step and self._is_validated() and self.step not in self.validated:
                self._validate()  # the run ended between its checkpoint and this
            while not stopping:
                logs = self.trainer.optimize(self.step)
                self.step += 1
                on_step(self.step, loop.steps)
                self.window.count()
                decision = decisions.after_step(self.trainer.is_finite(logs))
                if decision.diverged:
                    raise self._diverged("the loss or a gradient")
                requeue = decision.requeue and self.step < loop.steps
                stopping = decision.stop or self.step == loop.steps
                if stopping or self.step % loop.log_every == 0:
                    self._log(logs)
                if stopping or decision.checkpoint or loop.is_milestone(self.step):
                    self._save()
                    decisions.saved_now()
                if not requeue and (stopping or self._is_validated()):
                    self._validate()
                    self.window.restart()
            self.trainer.disband()  # from here on nobody waits for another: an export may fail
            if not requeue and self.accelerator.is_main_process:
                self._export()
        finished = self.step >= loop.steps
        return TrainingSummary(self.step, finished, self.speed, self.flops / 1e9, self.metrics, requeue)

    def _is_validated(self) -> bool:
        return self.step % self.loop.validate_every == 0 or self.step == self.loop.steps

    def _log(self, logs: dict[str, Tensor]) -> None:
        """Write the means over all processes."""
        self.speed = self.window.samples_per_second()
        values = mean_of(logs, self.accelerator.device)
        values |= {"samples_per_second": self.speed, "flops_utilisation": self.speed * self.flops / self.peak}
        self.accelerator.log(values, step=self.step)
        if self.accelerator.is_main_process:
            text = " ".join(f"{key}={value:.4g}" for key, value in values.items() if "/" not in key)
            log.info("step %d: %s", self.step, text)

    def _save(self) -> None:
        if self.saved == self.step:
            return
        if not all(bool(weight.isfinite().all()) for weight in self.stage.parameters()):  # the same in all processes
            raise self._diverged("a weight")
        from_main(lambda: self.checkpoints.save(self.trainer.state(self.step)))
        self.saved = self.step

    def _validate(self) -> None:
        """Where a run is stopped between validations the numbers are told and count for nothing."""
        try:
            with self.trainer.averaged_weights():
                metrics = validate(self.stage, self.validation, self.step, self.loop, self.run_dir, self.accelerator)
        except FacerefError as error:
            if error.code != "not_finite":
                raise
            raise self._diverged("a validation result") from error
        if any(math.isnan(value) for value in metrics.values()):
            raise self._diverged("a validation result")
        self.metrics = metrics
        if self._is_validated():
            self._mark_if_best(metrics)
            from_main(lambda: add_result(self.run_dir, self.step, metrics))

    def _mark_if_best(self, metrics: dict[str, float]) -> None:
        name = self.stage.best_by
        if name not in metrics:
            return
        on = f"{self.loop.validation_samples} samples in {self.accelerator.num_processes} processes"
        best = Best(self.step, name, metrics[name], on).after(from_main(self.checkpoints.best))
        if best is not None:
            self._save()
            from_main(lambda: self.checkpoints.mark_best(best))

    def _export(self) -> None:
        with self.trainer.averaged_weights(), replaced_folder(self.run_dir / "model") as folder:
            self.stage.export(folder)

    def _diverged(self, what: str) -> FacerefError:
        steps = self.checkpoints.steps()
        kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint was written"
        return FacerefError(
            f"Training stopped at step {self.step}: {what} is not a finite number; {kept}",
            hint="lower optimizer.learning_rate, or use loop.precision=no, and start again",
            code="diverged",
        )
