"""Training states on disk: tensors in safetensors and numbers in JSON, so that reading one runs no code.

A state appears whole or not at all. The last two are kept, and beside them milestones and the best by validation.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from faceref.errors import CheckpointError, UsageError
from faceref.files import replaced_folder, write_atomically

log = logging.getLogger(__name__)

FORMAT = 1
STATE = "state.json"
PARTS = ("networks", "average", "optimizers")  # a file of tensors each
KEPT_LAST = 2


@dataclass(frozen=True)
class TrainingState:
    """All that a run depends on after `step` steps; random numbers are functions of the step."""

    step: int
    networks: dict[str, Tensor]  # state_dict of the stage
    average: dict[str, Tensor]  # averaged weights by name
    optimizers: dict[str, Tensor]  # TURN.INDEX.NAME
    average_steps: int
    scaler: dict[str, Any]  # of fp16; empty otherwise


@dataclass(frozen=True)
class Best:
    """The validation of the largest value.

    measured_on: how many samples, by how many processes, each of which draws its own noise; "" is not known. others:
    steps that were the best on others, with which it cannot be compared; their states are kept, too.
    """

    step: int
    metric: str
    value: float
    measured_on: str = ""
    others: tuple[int, ...] = ()

    def after(self, before: "Best | None") -> "Best | None":
        """The best of both; None if that is still the one before."""
        if before is None:
            return self
        if before.measured_on not in ("", self.measured_on):
            return replace(self, others=(*before.others, before.step))
        return replace(self, others=before.others) if self.value > before.value else None


class Checkpoints:
    """Numbered training states in a folder."""

    def __init__(self, root: Path, is_milestone: Callable[[int], bool] = lambda step: False) -> None:
        self.root, self.is_milestone = root, is_milestone

    def folder(self, step: int) -> Path:
        return self.root / f"step_{step:08d}"

    def steps(self) -> list[int]:
        names = (re.fullmatch(r"step_(\d{8,})", path.name) for path in self.root.glob("step_*"))
        return sorted(int(name[1]) for name in names if name)

    def best(self) -> Best | None:
        """The best validation."""
        try:
            best = json.loads((self.root / "best.json").read_text())
            on, others = str(best.get("measured_on", "")), tuple(map(int, best.get("others", ())))
            return Best(int(best["step"]), str(best["metric"]), float(best["value"]), on, others)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError("is damaged", subject=self.root / "best.json", hint="remove it") from error

    def mark_best(self, best: Best) -> None:
        """From now on this step's state is kept as the best."""
        with write_atomically(self.root / "best.json") as path:
            path.write_text(json.dumps(asdict(best)) + "\n")

    def save(self, state: TrainingState) -> None:
        """Write a state and remove those that are not kept any longer. Raises OutputError, as on a full disk.

        A later one goes, too: it was passed over, or the run would be there.
        """
        tensors = {name: getattr(state, name) for name in PARTS}
        description = {
            "format": FORMAT,
            "step": state.step,
            "average_steps": state.average_steps,
            "scaler": state.scaler,
            "milestone": self.is_milestone(state.step),
            "tensors": {name: len(part) for name, part in tensors.items()},
        }
        with replaced_folder(self.folder(state.step)) as folder:
            for name, part in tensors.items():
                save_file({key: tensor.contiguous() for key, tensor in part.items()}, folder / f"{name}.safetensors")
            (folder / STATE).write_text(json.dumps(description, indent=2) + "\n")
        self._prune(state.step)

    def _prune(self, now: int) -> None:
        """Remove all states but the last ones up to the step `now`, milestones and the best."""
        best, steps = self.best(), self.steps()
        kept = [step for step in steps if step <= now][-KEPT_LAST:]
        kept += [] if best is None else [best.step, *best.others]
        for step in steps:
            if step not in kept and not self.is_milestone(step) and not self._was_milestone(step):
                shutil.rmtree(self.folder(step))

    def _was_milestone(self, step: int) -> bool:
        """When it was written, whatever the run was told since."""
        try:
            return bool(json.loads((self.folder(step) / STATE).read_text()).get("milestone"))
        except (OSError, ValueError, AttributeError):
            return False

    def read(self, step: int) -> TrainingState:
        """Read one state whole. Raises CheckpointError if it is missing or damaged, or of another kind."""
        folder = self.folder(step)
        if not folder.is_dir():
            raise CheckpointError(f"There is no checkpoint of step {step} in {self.root.parent}")
        if not (folder / STATE).is_file():
            raise CheckpointError(
                f"has no {STATE}: it is damaged or was written by an older faceref, whose states cannot be read "
                "without running what is in them",
                subject=folder,
                hint="train with that version, or start from its exported model",
            )
        try:
            description = json.loads((folder / STATE).read_text())
            if description["format"] != FORMAT:
                raise ValueError(f"its format is {description['format']}, not {FORMAT}")
            tensors = {name: load_file(folder / f"{name}.safetensors") for name in PARTS}
            for name, part in tensors.items():
                if len(part) != description["tensors"][name]:
                    raise ValueError(f"{name}.safetensors should hold {description['tensors'][name]} tensors")
            numbers = int(description["average_steps"]), dict(description["scaler"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(f"is damaged ({error})", subject=folder, hint="go back to one before it") from error
        return TrainingState(step, **tensors, average_steps=numbers[0], scaler=numbers[1])

    def read_latest(self) -> TrainingState:
        """The newest state that is whole; what is passed over is said.

        Raises UsageError if there is none at all, CheckpointError if none is whole.
        """
        steps = self.steps()
        if not steps:
            raise UsageError(f"There is no checkpoint to resume in {self.root.parent}")
        for step in reversed(steps[1:]):
            try:
                return self.read(step)
            except CheckpointError as error:
                log.warning("%s Going on from the checkpoint before it.", error)
        return self.read(steps[0])
