"""How a model samples, in the house's words, and the arguments of diffusers' that they are for a pipeline."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from faceref.pipelines.scheduler_name import SchedulerName


@dataclass(frozen=True)
class Sampling:
    """Steps, guidance towards the references (1: none), sampler, and how crisply to draw (crisp; None: the most).

    faceref.json, `RestoreOptions` and the command have these names. The defaults are for a pipeline that is no model
    of ours: as many steps as diffusers' pipelines take.
    """

    steps: int = 50
    guidance: float = 1.0
    scheduler: SchedulerName = "ddim"
    crisp: float | None = None

    def changed(self, **given: Any) -> Self:
        """With what is given; None: as it is."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def arguments(self) -> dict[str, Any]:
        """As a pipeline is called, whose names are diffusers'."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "scheduler": self.scheduler,
            "crisp": self.crisp,
        }


RELEASED = Sampling(steps=50, guidance=1.5)  # as the authors of ReF-LDM sample in their script (their paper: 100 steps)

_SAMPLING = TypeAdapter(Sampling)


def read_sampling(folder: Path) -> Sampling | None:
    """What faceref.json in a pipeline's folder says; None if there is none. Raises ValueError if it is damaged."""
    try:
        description = json.loads((folder / "faceref.json").read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(description, Mapping):
        raise ValueError("faceref.json is no description of a model")
    try:
        names = [field.name for field in fields(Sampling) if field.name in description]
        return _SAMPLING.validate_python({name: description[name] for name in names})
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"faceref.json: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
