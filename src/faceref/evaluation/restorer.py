"""What is measured: anything that restores faces, a model of ours or somebody else's, under one protocol."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from faceref.data.lq_set import seed_for
from faceref.devices import wait_for
from faceref.evaluation.conditions import Condition, Plan

Result = TypeVar("Result")


@dataclass(frozen=True)
class Photographs:
    """What to show for each of a few faces: photographs of the person and of a wrong one; empty if none are shown."""

    own: Sequence[Sequence[Path]]
    wrong: Sequence[Sequence[Path]]


@dataclass(frozen=True, eq=False)
class Batch:
    """B faces to restore.

    names: of the B targets. lq: the faces float32 [B, 3, S, S] in [-1, 1] of every set, by its name. seed: with the
    names it gives the starting noise.
    """

    names: tuple[str, ...]
    lq: Mapping[str, Tensor]
    photographs: Photographs
    seed: int

    def noise(self, latent_shape: Sequence[int]) -> Tensor:
        """Starting noise [B, C, h, w]: one for each face, the same for all conditions and models."""
        noise = []
        for name in self.names:
            generator = torch.Generator().manual_seed(seed_for(self.seed, name, "noise"))
            noise.append(torch.randn(tuple(latent_shape), generator=generator))
        return torch.stack(noise)


@dataclass(frozen=True, eq=False)
class Restoration:
    """What a restorer makes of a batch of B faces of one set under one condition.

    pictures: float32 [B, 3, S, S], about [-1, 1]. seconds: float64 [B], of each face: its share of the batch's time,
    and the time that the encoding of its references took; NaN where nobody timed it.
    """

    set: str
    condition: Condition
    pictures: Tensor
    seconds: np.ndarray


class MeasuredRestorer(ABC):
    """Something that restores faces, by whatever means, and is measured like all others. label: its name in tables."""

    label: str

    @property
    @abstractmethod
    def settings(self) -> dict[str, str | float]:
        """What its results depend on, by name."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever reads its rows has to know."""
        return ()

    @abstractmethod
    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        """The ways in which it restores."""

    @abstractmethod
    def restorations(self, plan: Plan, batch: Batch) -> Iterator[Restoration]:
        """Restore every set of a batch under every condition, but for the product's."""

    def ceiling(self, truth: Tensor) -> Tensor | None:
        """The best that it could make of the truth [B, 3, S, S] in [-1, 1], in the same form; None if none is known."""
        return None


def timed(device: torch.device, work: Callable[[], Result]) -> tuple[Result, float]:
    """What `work` gives, and the seconds until the device has done it."""
    wait_for(device)
    start = time.perf_counter()
    result = work()
    wait_for(device)
    return result, time.perf_counter() - start
