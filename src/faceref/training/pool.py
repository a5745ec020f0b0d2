"""Samples that are made many at a time, where making them costs more than training on them (`PoolConfig`)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from faceref.training.config import LoopConfig

Samples = dict[str, Tensor]


class Pool:
    """The batches of a run: a function of the step alone, so that a run that is resumed goes on with the same.

    One pool after another is filled, its samples being trained on in the order in which they are made, and then
    shuffled, until each was visited as often as the settings say.
    """

    def __init__(self, loop: LoopConfig, fill: Callable[[int], Iterator[Samples]]):
        """fill: the samples of one pool, by its number, in parts: tensors [part, ...].

        They may not depend on weights that are trained: a run that is resumed fills its pool again.
        """
        if loop.pool is None:
            raise ValueError("these settings know of no pool")
        self.batch_size, self.seed, self.samples = loop.batch_size, loop.seed, loop.pool.samples
        self.steps_a_visit = loop.pool.samples // loop.batch_size
        self.steps = self.steps_a_visit * loop.pool.visits
        self.fill = fill
        self.number, self.parts, self.held = -1, iter(()), Samples()

    def batch(self, step: int) -> Samples:
        """The batch of a step: tensors [batch_size, ...]."""
        number, within = divmod(step, self.steps)
        visit, place = divmod(within, self.steps_a_visit)
        if number != self.number:
            self.number, self.parts, self.held = number, self.fill(number), Samples()
        rows = np.arange(place * self.batch_size, (place + 1) * self.batch_size)
        if visit:
            rows = np.random.default_rng([self.seed, number, visit]).permutation(self.samples)[rows]
        while self._count() < (self.samples if visit else rows[-1] + 1):
            part = next(self.parts)
            self.held = {name: torch.cat([self.held[name], new]) if self.held else new for name, new in part.items()}
        return {name: values[torch.from_numpy(rows).to(values.device)] for name, values in self.held.items()}

    def _count(self) -> int:
        return len(next(iter(self.held.values()))) if self.held else 0
