"""Validation: each process restores its share of the same held-out samples, with the same noise, each time."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset, Subset

from faceref.files import write_atomically
from faceref.processes import from_all
from faceref.training.config import LoopConfig
from faceref.training.stages.stage import Stage
from faceref.training.trainer import seeded_generator

log = logging.getLogger(__name__)

RESULTS = "validation.jsonl"


def validate(
    stage: Stage, validation: Dataset, step: int, loop: LoopConfig, run_dir: Path, accelerator: Accelerator
) -> dict[str, float]:
    """Means over `loop.validation_samples` samples, in all processes the same; the main one logs and draws its share.

    The samples are evenly spaced, since neighbours are photographs of one person. Each process measures a share, so
    that nobody waits longer for the others than his own takes.
    """
    rank, together = accelerator.process_index, accelerator.num_processes
    length: int = len(validation)  # type: ignore[arg-type]
    spread = np.linspace(0, length - 1, min(loop.validation_samples, length)).round().astype(int)
    share = spread[rank::together].tolist()
    metrics: dict[str, float] = {}
    if share:
        items = next(iter(DataLoader(Subset(validation, share), batch_size=len(share))))
        generator = seeded_generator(accelerator.device, loop.seed, *([rank] if rank else []))
        stage.eval()
        with torch.no_grad(), accelerator.autocast():
            batch = stage.make_batch({key: value.to(accelerator.device) for key, value in items.items()}, generator)
            metrics, picture = stage.validate(batch, generator)
        stage.train()
        if accelerator.is_main_process:
            with write_atomically(run_dir / "samples" / f"step_{step:08d}.png") as path:
                picture.save(path)
    shares = from_all((len(share), metrics))
    count = sum(size for size, _ in shares)
    means = {name: sum(size * each[name] for size, each in shares if size) / count for name in shares[0][1]}
    accelerator.log({f"validation/{key}": value for key, value in means.items()}, step=step)
    if accelerator.is_main_process:
        log.info("step %d, validation: %s", step, " ".join(f"{name}={value:.4g}" for name, value in means.items()))
    return means


def add_result(run_dir: Path, step: int, metrics: dict[str, float]) -> None:
    """To a run's results."""
    with (run_dir / RESULTS).open("a") as file:
        file.write(json.dumps({"step": step} | metrics) + "\n")


def cut_back(run_dir: Path, step: int) -> set[int]:
    """Take from a run's results those after `step`, which will be made again; the steps of those that are left."""
    file = run_dir / RESULTS
    if not file.exists():
        return set()
    lines = file.read_text().splitlines(keepends=True)
    steps = [_step_of(line) for line in lines]
    kept = {number: line for number, line in zip(steps, lines, strict=True) if number is not None and number <= step}
    if len(kept) < len(lines):
        with write_atomically(file) as path:
            path.write_text("".join(kept.values()))
    return set(kept)


def _step_of(line: str) -> int | None:
    """None for a line that was being written when the run was killed, and for a result that is not a number."""
    try:
        numbers = json.loads(line)
        return None if any(map(math.isnan, numbers.values())) else int(numbers["step"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
