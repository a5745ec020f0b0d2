"""Batches of a data set's samples, read in this process or in others meanwhile (`data.workers`)."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any

from torch.utils.data import DataLoader, Dataset, default_collate

from faceref.errors import FacerefError
from faceref.training.decisions import HEEDED
from faceref.training.stages.stage import Batch


def read_batches(dataset: Dataset, keys: Iterable[list[int]], workers: int) -> Iterator[Batch]:
    """Collated samples of each list of keys, read by so many other processes; 0: when they are asked for, by this one.

    Raises DataError for a file that has been damaged since the beginning, whoever reads it.
    """
    if not workers:
        return iter(DataLoader(dataset, batch_sampler=keys))
    over = multiprocessing.Event()
    atexit.register(over.set)  # before multiprocessing ends its processes, and waits for their end
    loader = DataLoader(
        _OrError(dataset),
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=partial(_leave_signals_to_the_run, over),
    )
    return map(_raised_here, loader)


class _OrError(Dataset[Any]):
    """Samples, or the error that is in the place of one: what a worker raises becomes a text with its traceback."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: int) -> Any:
        try:
            return self.dataset[key]
        except FacerefError as error:
            return error


def _collated(samples: Sequence[Any]) -> Any:
    errors = (sample for sample in samples if isinstance(sample, FacerefError))
    return next(errors, None) or default_collate(list(samples))


def _raised_here(batch: Any) -> Batch:
    if isinstance(batch, FacerefError):
        raise batch
    return batch


def _leave_signals_to_the_run(over: Event, worker: int) -> None:
    """In a process that reads photographs: what is sent to all processes of a run is for the one that trains.

    It needs this one until its step is done; then it ends it. over: set when that process ends itself, and sends
    SIGTERM to those that are left.
    """
    for number in HEEDED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if over.is_set() else None)
