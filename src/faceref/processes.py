"""What several processes that train together agree on; in a single process each of these is the value itself."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from faceref.errors import FacerefError

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # of processes with the one that does something alone, as writing a model


@contextmanager
def together() -> Iterator[None]:
    """Work with the other processes that torchrun or srun has started, each on its own GPU where there are some."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo", timeout=PATIENCE)  # what is exchanged are Python's objects
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        yield
    finally:
        dist.destroy_process_group()


def several() -> bool:
    """Whether other processes work on the same."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def how_many() -> int:
    """The processes that work on the same, this one among them."""
    return dist.get_world_size() if several() else 1


def is_main() -> bool:
    """Whether this is the process that writes and decides."""
    return not several() or dist.get_rank() == 0


def is_first() -> bool:
    """As `is_main`, and also before the processes have met and after they have parted: the one that tells a person."""
    return os.environ.get("RANK", "0") == "0"


def share_of(items: Sequence[T]) -> list[tuple[T, ...]]:
    """What this process does of the items in each round: one of them, or none in the last."""
    if not several():
        return [(item,) for item in items]
    rounds = range(0, len(items), dist.get_world_size())
    return [tuple(items[i : i + dist.get_world_size()][dist.get_rank() :][:1]) for i in rounds]


def from_main(make: Callable[[], T]) -> T:
    """What `make` returns in the main process, in all of them; what it raises is raised in all.

    An error that is none of ours is a FacerefError in the others, which cannot be sent every kind of exception.
    """
    if not several():
        return make()
    outcome: list[tuple[T | None, FacerefError | None]] = [(None, None)]
    unexpected: Exception | None = None
    if is_main():
        try:
            outcome = [(make(), None)]
        except FacerefError as error:
            outcome = [(None, error)]
        except Exception as error:  # the others wait: they must hear of anything
            unexpected, outcome = error, [(None, _ended(error))]
    dist.broadcast_object_list(outcome)
    value, error = outcome[0]
    if error is not None:
        raise unexpected or error
    return value  # type: ignore[return-value]


def _ended(error: Exception) -> FacerefError:
    return FacerefError(
        f"The main process ended with {type(error).__name__}: {error}", hint="see what it says", code="main_ended"
    )


def take_from_main(tensor: torch.Tensor) -> None:
    """Overwrite the tensor with what the main process has in its place."""
    if several():
        dist.broadcast(tensor, 0)


def any_of(flags: Mapping[str, bool], device: torch.device) -> dict[str, bool]:
    """For each flag whether any process has raised it."""
    if not several():
        return dict(flags)
    raised = torch.tensor(list(flags.values()), dtype=torch.int32, device=device)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return dict(zip(flags, map(bool, raised.tolist()), strict=True))


def mean_of(numbers: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, float]:
    """The mean over the processes of each number; all of them have numbers of the same names."""
    if not numbers:
        return {}
    values = torch.stack([number.detach().float().mean().to(device) for number in numbers.values()])
    if several():
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return dict(zip(numbers, values.tolist(), strict=True))


def from_all(value: T) -> list[T]:
    """The values of all processes, in their order."""
    if not several():
        return [value]
    values: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]
