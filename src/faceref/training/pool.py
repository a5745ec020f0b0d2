"""Samples that are made many at a time, where making them costs more than training on them (`PoolConfig`)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from faceref.training.config import LoopConfig

Samples = dict[str, Tensor]


class Pool:
    """The batches of a run: a function of the step alone, so that a run that is resumed goes on with the same.

    One pool after another is filled; meanwhile each of its samples is visited as often as the settings say.
    """

    def __init__(self, loop: LoopConfig, fill: Callable[[int], Iterator[Samples]]):
        """fill: the samples of one pool, by its number, in parts: tensors [part, ...]."""
        if loop.pool is None:
            raise ValueError("these settings know of no pool")
        self.batch_size, self.seed, self.samples = loop.batch_size, loop.seed, loop.pool.samples
        self.steps_a_visit = loop.pool.samples // loop.batch_size
        self.steps = self.steps_a_visit * loop.pool.visits
        self.fill = fill
        self.number, self.held = -1, Samples()

    def batch(self, step: int) -> Samples:
        """The batch of a step: tensors [batch_size, ...]."""
        number, within = divmod(step, self.steps)
        if number != self.number:
            self.held = {}  # first, so that two never take memory together
            parts = list(self.fill(number))
            self.held = {name: torch.cat([part.pop(name) for part in parts]) for name in list(parts[0])}
            self.number = number
        visit, place = divmod(within, self.steps_a_visit)
        order = np.random.default_rng([self.seed, number, visit]).permutation(self.samples)
        rows = torch.from_numpy(order[place * self.batch_size : (place + 1) * self.batch_size])
        return {name: values[rows.to(values.device)] for name, values in self.held.items()}
