"""The only training loop: any stage, on one CPU, one GPU, or many of either under `accelerate launch`.

Everything random in step k is drawn from generators seeded with (seed, k, process), and the learning rate is a function
of k. A run that is stopped and resumed therefore does what an uninterrupted one does, to the bit on a CPU.
"""

import itertools
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.flop_counter import FlopCounterMode

from faceref.data.dataset import SeededSampler
from faceref.errors import UsageError
from faceref.files import replaced_folder
from faceref.training.checkpoints import Checkpoints
from faceref.training.config import LoopConfig, StageConfig
from faceref.training.config_files import save_config
from faceref.training.optimizer import learning_rate, make_optimizer, set_rates
from faceref.training.speed import SpeedWindow, matmul_flops_per_second
from faceref.training.stages.stage import Batch, Stage

log = logging.getLogger(__name__)


def seeded_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose stream depends on all numbers of the key."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(seed)


@dataclass(frozen=True)
class TrainingSummary:
    """How a call of `train` ended."""

    step: int
    finished: bool
    samples_per_second: float
    gigaflops_per_sample: float
    metrics: dict[str, float]


def train(
    config: StageConfig,
    stage: Stage,
    dataset: Dataset,
    validation: Dataset,
    run_dir: Path,
    *,
    accelerator: Accelerator,
    resume: bool = False,
    max_minutes: float | None = None,
    dry_run: bool = False,
    sample_weights: np.ndarray | None = None,
) -> TrainingSummary:
    """Train until `config.loop.steps`, `max_minutes` or Ctrl-C, whichever is first; a checkpoint is left in each case.

    `run_dir` gets config.yaml, checkpoints/, samples/, TensorBoard's events, and at the end model/ with the averaged
    weights. With `dry_run` one step is computed and nothing is written. Raises UsageError where `run_dir` already holds
    a run and `resume` is not set, or the other way round.
    """
    loop = config.loop
    checkpoints = Checkpoints(run_dir / "checkpoints")
    step = checkpoints.latest_step()
    if not dry_run:
        _prepare_run_dir(config, run_dir, step, resume, accelerator)
    trainer = _Trainer(config, stage, dataset, accelerator, step, sample_weights)
    flops_per_sample, seconds = trainer.measure_step(step)
    if dry_run:
        return TrainingSummary(0, False, loop.batch_size / seconds, flops_per_sample / 1e9, {})
    if step:
        accelerator.load_state(str(checkpoints.folder(step)))
        trainer.average.to(accelerator.device)  # accelerate reads what is registered onto the CPU

    peak = matmul_flops_per_second(accelerator.device, loop.precision) * accelerator.num_processes
    window = SpeedWindow(loop.batch_size * loop.accumulate * accelerator.num_processes)
    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else math.inf
    saved = time.monotonic()
    speed, metrics = 0.0, {}
    with _progress(accelerator, loop.steps) as progress, _stop_on_signal() as stop_requested:
        task = progress.add_task(config.stage, total=loop.steps, completed=step, numbers="")
        stopping = step >= loop.steps
        while not stopping:
            logs = trainer.optimize(step)
            step += 1
            window.count()
            if step % loop.log_every == 0 or step == loop.steps:
                speed = window.samples_per_second()
                values = {key: value.float().mean().item() for key, value in logs.items()}
                values |= {"samples_per_second": speed, "flops_utilisation": speed * flops_per_sample / peak}
                accelerator.log(values, step=step)
                text = " ".join(f"{key}={value:.4g}" for key, value in values.items() if "gradient" not in key)
                progress.update(task, completed=step, numbers=text)
                log.info("step %d: %s", step, text)
            if stop_requested() or time.monotonic() > deadline:
                accelerator.set_trigger()
            stopping = accelerator.check_trigger() or step == loop.steps  # all processes stop at the same step
            if stopping or time.monotonic() - saved > 60 * loop.checkpoint_minutes:
                checkpoints.save(step, accelerator)
                saved = time.monotonic()
            if stopping or step % loop.validate_every == 0:
                with trainer.averaged_weights():
                    metrics = _validate(stage, validation, step, loop, run_dir, accelerator)
                window.restart()
    if accelerator.is_main_process:
        with trainer.averaged_weights(), replaced_folder(run_dir / "model") as folder:
            stage.export(folder)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return TrainingSummary(step, step >= loop.steps, speed, flops_per_sample / 1e9, metrics)


class _Trainer:
    """A stage with its optimizers, averaged weights and stream of samples."""

    def __init__(
        self,
        config: StageConfig,
        stage: Stage,
        dataset: Dataset,
        accelerator: Accelerator,
        step: int,
        sample_weights: np.ndarray | None,
    ) -> None:
        self.config, self.stage, self.dataset, self.accelerator = config, stage, dataset, accelerator
        stage.to(device=accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = EMAModel(stage.averaged().parameters(), decay=config.loop.ema_decay, foreach=True)
        self.average.to(accelerator.device)
        # all of them from the start: a run that is resumed may reach turns that it was not meant to when it began
        optimizers = {turn: make_optimizer(stage.trainable(turn), config.optimizer) for turn in stage.all_turns}
        self.model, *prepared = accelerator.prepare(stage, *optimizers.values())
        self.optimizers = dict(zip(optimizers, prepared, strict=True))
        accelerator.register_for_checkpointing(self.average)
        keys = _batches_of_process(len(dataset), config.loop, step, accelerator, sample_weights)  # type: ignore[arg-type]
        self.batches = iter(DataLoader(dataset, batch_sampler=keys, num_workers=config.data.workers))

    def optimize(self, step: int) -> dict[str, Tensor]:
        """One step of every turn; returns the numbers of its last micro batch."""
        accelerator, loop = self.accelerator, self.config.loop
        logs: dict[str, Tensor] = {}
        micro_batches = []
        for micro in range(loop.accumulate):
            generator = seeded_generator(accelerator.device, loop.seed, step, micro, accelerator.process_index)
            micro_batches.append((self._make_batch(next(self.batches), generator), generator))
        self._restart_average(self.stage.prepare(step))
        for turn in self.stage.turns(step):
            for i, (batch, generator) in enumerate(micro_batches):
                with ExitStack() as stack:
                    if i + 1 < loop.accumulate:
                        stack.enter_context(accelerator.no_sync(self.model))
                    loss, numbers = self.model(batch, generator, step, turn)
                    accelerator.backward(loss / loop.accumulate)
                logs |= numbers
            modules = self.stage.trainable(turn)
            parameters = [parameter for module in modules for parameter in module.parameters()]
            norm = accelerator.clip_grad_norm_(parameters, self.config.optimizer.clip_norm)
            if norm is not None:
                logs[f"gradient_norm/{turn}"] = norm.detach()
            rate = learning_rate(self.config.optimizer, step, loop.steps)
            set_rates(self.optimizers[turn], [share * rate for share in modules.values()])
            self.optimizers[turn].step()
            self.stage.zero_grad(set_to_none=True)  # those that a GAN's one side left in the other, too
        self.average.step(self.stage.averaged().parameters())
        return logs

    def _restart_average(self, parameters: list[Tensor]) -> None:
        new = {id(parameter) for parameter in parameters}
        for parameter, average in zip(self.stage.averaged().parameters(), self.average.shadow_params, strict=True):
            if id(parameter) in new:
                average.copy_(parameter.data)

    def measure_step(self, step: int) -> tuple[float, float]:
        """FLOPs per sample and seconds of one forward and backward pass, beside the run: nothing of it stays."""
        items = default_collate([self.dataset[i] for i in range(self.config.loop.batch_size)])
        generator = seeded_generator(self.accelerator.device, self.config.loop.seed)

        def passes() -> None:
            batch = self._make_batch(items, generator)
            for turn in self.stage.turns(step):
                loss, _ = self.model(batch, generator, step, turn)
                self.accelerator.backward(loss)
                loss.item()  # waits for the device
            self.stage.zero_grad(set_to_none=True)

        with FlopCounterMode(display=False) as counter:
            passes()
        started = time.perf_counter()
        passes()
        return counter.get_total_flops() / self.config.loop.batch_size, time.perf_counter() - started

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averaged weights take the place of the trained ones meanwhile."""
        parameters = list(self.stage.averaged().parameters())
        self.average.store(parameters)
        self.average.copy_to(parameters)
        try:
            yield
        finally:
            self.average.restore(parameters)

    def _make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        on_device = {key: value.to(self.accelerator.device, non_blocking=True) for key, value in items.items()}
        with self.accelerator.autocast():
            return self.stage.make_batch(on_device, generator)


def make_accelerator(precision: str, run_dir: Path | None) -> Accelerator:
    """The accelerator for this process (CPU, GPU, or one of many); logs to TensorBoard where `run_dir` is given."""
    return Accelerator(
        mixed_precision=precision,
        log_with="tensorboard" if run_dir else None,
        project_dir=str(run_dir) if run_dir else None,
        # a GAN's turns use one side's parameters each
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _prepare_run_dir(config: StageConfig, run_dir: Path, step: int, resume: bool, accelerator: Accelerator) -> None:
    if step and not resume:
        raise UsageError(f"{run_dir} already holds a run at step {step}: add --resume, or choose another folder.")
    if resume and not step:
        raise UsageError(f"There is no checkpoint to resume in {run_dir}: leave out --resume to start.")
    if accelerator.is_main_process:
        run_dir.mkdir(parents=True, exist_ok=True)
        save_config(config, run_dir / "config.yaml")
    accelerator.wait_for_everyone()
    accelerator.init_trackers("tensorboard")


def _batches_of_process(
    length: int, loop: LoopConfig, step: int, accelerator: Accelerator, weights: np.ndarray | None
) -> Iterator[list[int]]:
    """Endless batches of data-set keys: all processes together take one seeded stream, each its own part of it."""
    batch, rank, together = loop.batch_size, accelerator.process_index, loop.batch_size * accelerator.num_processes
    keys = iter(SeededSampler(length, loop.seed, weights, start=step * loop.accumulate * together))
    while True:
        yield list(itertools.islice(keys, together))[rank * batch : (rank + 1) * batch]


def _validate(
    stage: Stage, validation: Dataset, step: int, loop: LoopConfig, run_dir: Path, accelerator: Accelerator
) -> dict[str, float]:
    """Measure and draw the same held-out samples, degraded in the same way, with the same noise, each time."""
    if not accelerator.is_main_process:
        return {}
    count = min(loop.validation_samples, len(validation))  # type: ignore[arg-type]
    items = next(iter(DataLoader(validation, batch_size=count)))
    generator = seeded_generator(accelerator.device, loop.seed)
    stage.eval()
    with torch.no_grad(), accelerator.autocast():
        batch = stage.make_batch({key: value.to(accelerator.device) for key, value in items.items()}, generator)
        metrics, picture = stage.validate(batch, generator)
    stage.train()
    accelerator.log({f"validation/{key}": value for key, value in metrics.items()}, step=step)
    samples = run_dir / "samples"
    samples.mkdir(exist_ok=True)
    picture.save(samples / f"step_{step:08d}.png")
    with (run_dir / "validation.jsonl").open("a") as file:
        file.write(json.dumps({"step": step} | metrics) + "\n")
    log.info("step %d, validation: %s", step, metrics)
    return metrics


def _progress(accelerator: Accelerator, total: int) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
        disable=not accelerator.is_main_process,
    )


@contextmanager
def _stop_on_signal() -> Iterator[Any]:
    """The first Ctrl-C (or SIGTERM) asks the loop to end after the current step; the second one interrupts at once."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.warning("Stopping after this step; a checkpoint is written first.")

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
