"""What a stage of training has to offer the loop."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset, make_batch
from faceref.models.identity import FaceRecogniser
from faceref.training.config import DataConfig

Batch = dict[str, Tensor]
Losses = tuple[Tensor, dict[str, Tensor]]  # what to minimise, and detached numbers for the log


class Stage(nn.Module, ABC):
    """What is trained: networks, their loss, and how to look at them. Submodules are trained, all else is frozen."""

    all_turns: tuple[str, ...] = ("model",)  # each has its optimizer; a GAN names its two sides
    best_by: str = "psnr"  # the number of `validate` whose largest value marks the best checkpoint

    def __init__(self) -> None:
        super().__init__()
        self.frozen: dict[str, Any] = {}  # networks by name

    @classmethod
    @abstractmethod
    def build(cls, config: Any, faces: FaceDataset) -> Self:
        """The stage with its networks, new or loaded, as its own class of configuration says.

        faces: what will be trained on. Raises UsageError or CheckpointError where settings or weights do not fit.
        """

    def keep_frozen(self, **networks: nn.Module | None) -> None:
        """Hold networks that the loss needs and nobody trains; a dict hides them from nn.Module's registry."""
        for network in networks.values():
            if network is not None:
                network.eval().requires_grad_(False)
        self.frozen = networks

    @property
    def recogniser(self) -> FaceRecogniser | None:
        """Of the identity loss and of validation, if the configuration names one."""
        return self.frozen.get("recogniser")

    def to(self, *args: Any, **kwargs: Any) -> Self:
        for network in self.frozen.values():
            if network is not None:
                network.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def turns(self, step: int) -> tuple[str, ...]:
        """Who of `all_turns` is optimised in this step, in order."""
        return self.all_turns

    def prepare(self, step: int) -> list[Tensor]:
        """Called before each step; returns parameters that were given new values, whose average begins anew.

        They are to be the same in all processes that train together.
        """
        return []

    @abstractmethod
    def trainable(self, turn: str) -> dict[nn.Module, float]:
        """The modules that this turn's optimizer moves, each with its share of the learning rate."""

    @abstractmethod
    def averaged(self) -> nn.Module:
        """The module whose exponential moving average is validated and exported."""

    def degraded(self, items: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
        """As the data set's `make_batch` makes it of its items; references are augmented in training only."""
        augmentation = data.augmentation if self.training else None
        return cast(Batch, make_batch(items, data.degradation, generator, augmentation, data.of_targets))

    @abstractmethod
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Collated data-set items on the device -> network inputs: degradation, augmentation, flips."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        """The losses of this turn."""

    @abstractmethod
    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Measure on a held-out batch and draw it; each number is a mean, since processes measure a share each."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the model (called with the averaged weights in place)."""
