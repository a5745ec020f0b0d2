"""The only training loop: any stage, on one CPU, one GPU, or many of either under `accelerate launch`.

Everything random in step k is drawn from generators seeded with (seed, k, process), and the learning rate is a function
of k. A run that is stopped and resumed therefore does what an uninterrupted one does, to the bit on a CPU.
"""

import itertools
import json
import logging
import math
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.training_utils import EMAModel
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.flop_counter import FlopCounterMode

from faceref.data.dataset import SeededSampler
from faceref.errors import UsageError
from faceref.training.config import DiffusionConfig, LoopConfig, OptimizerConfig, VQGANConfig, save_config

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]
Losses = tuple[Tensor, dict[str, Tensor]]  # what to minimise, and detached numbers for the log


class Stage(nn.Module, ABC):
    """What is trained: networks, their loss, and how to look at them. Submodules are trained, all else is frozen."""

    frozen: tuple[Any, ...] = ()

    def keep_frozen(self, *networks: nn.Module | None) -> None:
        """Hold networks that the loss needs and nobody trains; a tuple hides them from nn.Module's registry."""
        for network in networks:
            if network is not None:
                network.eval().requires_grad_(False)
        self.frozen = networks

    def to(self, *args: Any, **kwargs: Any) -> Self:
        for network in self.frozen:
            if network is not None:
                network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def turns(self, step: int) -> tuple[str, ...]:
        """Who is optimised in this step, in order; a GAN returns its two sides."""
        return ("model",)

    @abstractmethod
    def trainable(self, turn: str) -> nn.Module:
        """The module whose parameters this turn's optimizer moves."""

    @abstractmethod
    def averaged(self) -> nn.Module:
        """The module whose exponential moving average is validated and exported."""

    @abstractmethod
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Collated data-set items on the device -> network inputs: degradation, augmentation, flips."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        """The losses of this turn."""

    @abstractmethod
    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Measure on a held-out batch and draw it."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the model (called with the averaged weights in place)."""


def seeded_generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose stream depends on all numbers of the key."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device).manual_seed(seed)


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from the full rate to `final_ratio` of it at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_ratio + (1 - config.final_ratio) * cosine)


@dataclass(frozen=True)
class TrainingSummary:
    """How a call of `train` ended."""

    step: int
    finished: bool
    samples_per_second: float
    gigaflops_per_sample: float
    metrics: dict[str, float]


def train(
    config: VQGANConfig | DiffusionConfig,
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
    loop, device = config.loop, accelerator.device
    checkpoints = Checkpoints(run_dir / "checkpoints")
    step = checkpoints.latest_step()
    if not dry_run:
        _prepare_run_dir(config, run_dir, step, resume, accelerator)
    stage.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = EMAModel(stage.averaged().parameters(), decay=loop.ema_decay, foreach=True)
    average.to(device)
    optimizers = {turn: _optimizer(stage.trainable(turn), config.optimizer) for turn in stage.turns(loop.steps)}
    prepared = accelerator.prepare(stage, *optimizers.values())
    model, optimizers = prepared[0], dict(zip(optimizers, prepared[1:], strict=True))
    accelerator.register_for_checkpointing(average)
    if step and not dry_run:
        accelerator.load_state(str(checkpoints.folder(step)))
    batches = iter(
        DataLoader(
            dataset,
            batch_sampler=_batches_of_process(len(dataset), loop, step, accelerator, sample_weights),  # type: ignore[arg-type]
            num_workers=config.data.workers,
        )
    )

    def run_step(step: int) -> dict[str, Tensor]:
        logs: dict[str, Tensor] = {}
        micro_batches = []
        for micro in range(loop.accumulate):
            generator = seeded_generator(device, loop.seed, step, micro, accelerator.process_index)
            items = {key: value.to(device, non_blocking=True) for key, value in next(batches).items()}
            with accelerator.autocast():
                micro_batches.append((stage.make_batch(items, generator), generator))
        for turn in stage.turns(step):
            optimizer = optimizers[turn]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config.optimizer, step, loop.steps)
            for i, (batch, generator) in enumerate(micro_batches):
                with ExitStack() as stack:
                    if i + 1 < loop.accumulate:
                        stack.enter_context(accelerator.no_sync(model))
                    loss, numbers = model(batch, generator, step, turn)
                    accelerator.backward(loss / loop.accumulate)
                logs |= numbers
            norm = accelerator.clip_grad_norm_(stage.trainable(turn).parameters(), config.optimizer.clip_norm)
            logs[f"gradient_norm/{turn}"] = norm.detach() if norm is not None else torch.tensor(0.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return logs

    flops_per_sample, seconds = _measure_step(stage, model, dataset, step, loop, accelerator)
    if dry_run:
        return TrainingSummary(0, False, loop.batch_size / seconds, flops_per_sample / 1e9, {})

    peak = _matmul_flops_per_second(device, loop.precision)
    speed, metrics = 0.0, {}
    window = _SpeedWindow(loop.batch_size * loop.accumulate * accelerator.num_processes)
    deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else math.inf
    last_saved = time.monotonic()
    with _progress(accelerator, loop.steps) as progress, _stop_on_signal() as stop_requested:
        task = progress.add_task(config.stage, total=loop.steps, completed=step, numbers="")
        while step < loop.steps:
            logs = run_step(step)
            average.step(stage.averaged().parameters())
            step += 1
            window.count()
            if step % loop.log_every == 0 or step == loop.steps:
                speed = window.samples_per_second()
                values = {key: value.float().mean().item() for key, value in logs.items()}
                values["samples_per_second"] = speed
                values["flops_utilisation"] = speed * flops_per_sample / peak / accelerator.num_processes
                accelerator.log(values, step=step)
                text = " ".join(f"{key}={value:.4g}" for key, value in values.items() if "gradient" not in key)
                progress.update(task, completed=step, numbers=text)
                log.info("step %d: %s", step, text)
            if stop_requested() or time.monotonic() > deadline:
                accelerator.set_trigger()
            stopping = accelerator.check_trigger() or step == loop.steps
            if stopping or step % loop.validate_every == 0:
                with _averaged_weights(stage, average):
                    metrics = _validate(stage, validation, step, loop, run_dir, accelerator)
                window.restart()
            if stopping or time.monotonic() - last_saved > 60 * loop.checkpoint_minutes:
                checkpoints.save(step, accelerator)
                last_saved = time.monotonic()
            if stopping:
                break
    if accelerator.is_main_process:
        with _averaged_weights(stage, average):
            _replace_folder(run_dir / "model", stage.export)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return TrainingSummary(step, step >= loop.steps, speed, flops_per_sample / 1e9, metrics)


def make_accelerator(precision: str, run_dir: Path | None) -> Accelerator:
    """The accelerator for this process (CPU, GPU, or one of many); logs to TensorBoard where `run_dir` is given."""
    return Accelerator(
        mixed_precision=precision,
        log_with="tensorboard" if run_dir else None,
        project_dir=str(run_dir) if run_dir else None,
        # a GAN's turns use one side's parameters each
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


class Checkpoints:
    """Numbered training states in a folder; a state appears whole or not at all, and the last two are kept."""

    def __init__(self, root: Path, keep: int = 2):
        self.root, self.keep = root, keep

    def folder(self, step: int) -> Path:
        return self.root / f"step_{step:08d}"

    def steps(self) -> list[int]:
        return sorted(int(path.name.removeprefix("step_")) for path in self.root.glob("step_*"))

    def latest_step(self) -> int:
        """The step to resume from; 0 where there is no checkpoint."""
        return max(self.steps(), default=0)

    def save(self, step: int, accelerator: Accelerator) -> None:
        temporary = self.root / f".step_{step}"
        if accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(temporary))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            shutil.rmtree(self.folder(step), ignore_errors=True)
            temporary.rename(self.folder(step))
            for old in self.steps()[: -self.keep]:
                shutil.rmtree(self.folder(old))
        accelerator.wait_for_everyone()


def _prepare_run_dir(config: Any, run_dir: Path, step: int, resume: bool, accelerator: Accelerator) -> None:
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


def _optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        module.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


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


def _measure_step(
    stage: Stage, model: nn.Module, dataset: Dataset, step: int, loop: LoopConfig, accelerator: Accelerator
) -> tuple[float, float]:
    """FLOPs per sample and seconds of one forward and backward pass, beside the run: nothing of it is left behind."""
    items = default_collate([dataset[i] for i in range(loop.batch_size)])
    generator = seeded_generator(accelerator.device, loop.seed)

    def passes() -> None:
        with accelerator.autocast():
            batch = stage.make_batch({key: value.to(accelerator.device) for key, value in items.items()}, generator)
        for turn in stage.turns(step):
            accelerator.backward(model(batch, generator, step, turn)[0])
        stage.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter:
        passes()
    started = time.perf_counter()
    passes()
    return counter.get_total_flops() / loop.batch_size, time.perf_counter() - started


def _replace_folder(folder: Path, write: Any) -> None:
    """Write a folder under a temporary name and put it in the place of the old one."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    write(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


@contextmanager
def _averaged_weights(stage: Stage, average: EMAModel) -> Iterator[None]:
    parameters = list(stage.averaged().parameters())
    average.store(parameters)
    average.copy_to(parameters)
    try:
        yield
    finally:
        average.restore(parameters)


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


class _SpeedWindow:
    """Samples per second since the last `restart` or reading."""

    def __init__(self, samples_per_step: int):
        self.samples_per_step = samples_per_step
        self.restart()

    def restart(self) -> None:
        self.started, self.steps = time.perf_counter(), 0

    def count(self) -> None:
        self.steps += 1

    def samples_per_second(self) -> float:
        speed = self.steps * self.samples_per_step / max(1e-9, time.perf_counter() - self.started)
        self.restart()
        return speed


def _matmul_flops_per_second(device: torch.device, precision: str) -> float:
    """What a large matrix product reaches on this device: the peak that utilisation is given against."""
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = 8192 if device.type == "cuda" else 1536
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)
