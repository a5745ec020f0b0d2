"""The folder of a run: who may write there, with which settings, and what was started where."""

import json
import logging
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from faceref.errors import UsageError
from faceref.files import cannot_be_written, lock, remove_leftovers
from faceref.processes import how_many
from faceref.training.checkpoints import Checkpoints
from faceref.training.config import LoopConfig, StageConfig
from faceref.training.config_files import load_config
from faceref.training.optimizer import learning_rate

log = logging.getLogger(__name__)

CONFIG, STARTS = "config.yaml", "starts.jsonl"
MADE_OF = "made_of"  # in a line of STARTS: what no setting tells and a run depends on, a fingerprint by its name
# what a run that goes on may change: how long, how often it looks, how it gets at the same photographs, and how
# processes and batches share those of a step
MAY_CHANGE = (
    "loop.steps",
    "loop.log_every",
    "loop.validate_every",
    "loop.validation_samples",
    "loop.checkpoint_minutes",
    "loop.milestones",
    "loop.trackers",
    "loop.gradient_checkpointing",
    "loop.batch_size",
    "loop.accumulate",
    "data.workers",
    "data.cache",
    "data.memory_gb",
    "data.on_device",
)
# and this, where the run says which photographs it was begun with: they may have moved
MAY_MOVE = "data.root"
PATIENCE = 10.0  # seconds: who reads photographs for a run that was killed notices it after five
VERSIONS = ("faceref", "torch", "diffusers", "accelerate", "numpy")


def check_run_folder(config: StageConfig, run_dir: Path, resume: bool) -> None:
    """Write nothing, and raise UsageError if a run may not start in this folder.

    That is: there is one already and `resume` is not set, or there is none and it is, or it has other settings or takes
    another number of samples in each step, so that it would not go on where its stream of samples was left.
    """
    steps = Checkpoints(run_dir / "checkpoints").steps()
    if steps and not resume:
        raise UsageError(
            f"already holds a run at step {steps[-1]}",
            subject=run_dir,
            hint="resume it, or choose another folder",
            code="run_exists",
        )
    if resume and not steps:
        raise UsageError(
            f"There is no checkpoint to resume in {run_dir}", hint="start without resuming", code="nothing_to_resume"
        )
    if not resume:
        return
    before, last = load_config(run_dir / CONFIG), _last_start(run_dir)
    may_change = (*MAY_CHANGE, MAY_MOVE) if MADE_OF in last else MAY_CHANGE
    if differences := changed_settings(before, config, may_change):
        raise UsageError(
            f"was trained with other settings: {'; '.join(differences)}",
            subject=run_dir,
            hint=f"resume with the same, or start in another folder (only {', '.join(may_change)} may change)",
            code="other_settings",
        )
    if config.loop.pool is not None and last.get("processes", how_many()) != how_many():
        raise UsageError(
            f"was trained by {last['processes']} processes, each with samples of its own to go on with",
            subject=run_dir,
            hint="start as many",
            code="other_processes",
        )
    was, now = _samples_before(last, before.loop), config.loop.samples_per_step(how_many())
    if was != now:
        raise UsageError(
            f"takes {was} samples a step, and these settings would make it {now}",
            subject=run_dir,
            hint=f"set loop.batch_size and loop.accumulate so that they, times {how_many()} (processes), make {was}",
            code="other_samples",
        )
    rates = [learning_rate(each.optimizer, steps[-1], each.loop.steps) for each in (before, config)]
    if rates[0] != rates[1]:
        log.warning(
            "loop.steps was %d and is %d: the learning rate's cosine is stretched to that, and goes on from step %d at "
            "%.3g instead of %.3g.",
            *(before.loop.steps, config.loop.steps, steps[-1], rates[1], rates[0]),
        )


def check_made_of(run_dir: Path, made_of: dict[str, str]) -> None:
    """Raises UsageError if the run was begun with other networks or photographs; one that does not say so goes on."""
    before = _last_start(run_dir).get(MADE_OF, made_of)
    if others := sorted(name for name in before | made_of if before.get(name) != made_of.get(name)):
        raise UsageError(
            f"was begun with {'; '.join(f'other {name}' for name in others)}",
            subject=run_dir,
            hint="bring back what it was begun with, or start in another folder",
            code="made_of_others",
        )


@contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Until the end the run's folder is this process's alone; what a killed one was writing is removed.

    Raises OutputError, with the code "in_use" if another run is writing there.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / STARTS).open("a")
    except OSError as error:
        raise cannot_be_written(run_dir / STARTS, error) from error
    with file:
        if lock(file, run_dir, PATIENCE):
            remove_leftovers(run_dir)
            for scratch in (*run_dir.glob(".model.*"), *(run_dir / "checkpoints").glob(".step_*")):
                shutil.rmtree(scratch, ignore_errors=True)
        yield


def _last_start(run_dir: Path) -> dict[str, Any]:
    """The last line of starts.jsonl that a full disk has not cut off; nothing where none can be read."""
    try:
        lines = (run_dir / STARTS).read_text().splitlines()
    except (OSError, ValueError):
        return {}
    for line in reversed(lines):
        with suppress(ValueError, TypeError):
            return dict(json.loads(line))
    return {}


def _samples_before(start: dict[str, Any], loop: LoopConfig) -> int:
    """In a step, of all processes, as the run was last started; of as many as now where nothing tells.

    loop: as the run has it.
    """
    # the first 0.2 wrote the number of processes alone
    return start.get("samples_per_step") or loop.samples_per_step(start.get("processes", how_many()))


def changed_settings(before: StageConfig, now: StageConfig, may_change: Collection[str] = MAY_CHANGE) -> list[str]:
    """The settings that differ and may not, as "name: before, now"."""
    old, new = (_flat(config.model_dump(mode="json")) for config in (before, now))
    return [
        f"{name} was {old.get(name)!r}, is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name not in may_change
    ]


def record_start(run_dir: Path, step: int, loop: LoopConfig, accelerator: Accelerator, made_of: dict[str, str]) -> None:
    """Append to starts.jsonl what was started: command, revision, versions, device, and of what (`check_made_of`)."""
    device = accelerator.device
    start = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "step": step,
        "command": shlex.join(sys.argv),
        "git": _git_revision(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": accelerator.num_processes,
        "samples_per_step": loop.samples_per_step(accelerator.num_processes),
        "host": platform.node(),
        MADE_OF: made_of,
    }
    try:
        with (run_dir / STARTS).open("a+b") as file:
            file.seek(0)
            line = json.dumps(start).encode() + b"\n"
            file.write(line if file.read()[-1:] in (b"", b"\n") else b"\n" + line)
    except OSError as error:
        raise cannot_be_written(run_dir / STARTS, error) from error


def _git_revision() -> str | None:
    """The commit of this code, with + if files have changed since; None where it is no repository's."""
    describe = ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(
            describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        return {key: value for part in tree for key, value in _flat(tree[part], f"{name}.{part}".lstrip(".")).items()}
    return {name: tree}
