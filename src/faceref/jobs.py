"""The same work on many files: in this process, in several, or through Ray; what is finished before Ctrl-C counts."""

import logging
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from threading import RLock, Thread
from typing import Any, Generic, Protocol, TypeVar

from faceref.cluster import check_ray, start_ray
from faceref.errors import FacerefError
from faceref.lean import import_late

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)
OnItem = Callable[[int, int], None]  # (items done, items in all)
AT_ONCE = 64  # items handed to each worker before the next are: bounds what a queue holds

DEFAULT_WORKERS = min(os.cpu_count() or 1, 4)  # a worker that finds or embeds faces takes up to 0.9 GB


class Work(Protocol, Generic[Item, Result]):
    """What is to be done: picklable, so that any process can start it."""

    def start(self) -> Callable[[Item], Result]:
        """Load what is needed, once in every process; the function returned does one item."""
        ...


def run(
    work: Work[Item, Result],
    items: Sequence[Item],
    *,
    workers: int,
    ray: bool = False,
    on_item: OnItem = lambda *_: None,
) -> Iterator[Result]:
    """The results of `work` on `items` as they are finished; their order is not to be relied on.

    One worker is this process. on_item: told how far it is, whoever may draw that. Raises UsageError if Ray is asked
    for and not installed, FacerefError if a worker died.
    """
    if not items:
        return
    if ray:
        results = _through_ray(work, items, workers)
    elif workers == 1:
        results = map(work.start(), items)
    else:
        results = _in_processes(work, items, workers)
    for done, result in enumerate(results, start=1):
        on_item(done, len(items))
        yield result


def _in_processes(work: Work[Item, Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    others = set(active_children())
    # spawned, not forked: a fork of a process that has started torch's threads may hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker)
    try:
        for start in range(0, len(items), AT_ONCE * workers):
            part = items[start : start + AT_ONCE * workers]
            for future in as_completed([pool.submit(_do_until_interrupted, work, item) for item in part]):
                yield future.result()
    except BrokenProcessPool as error:
        raise FacerefError(
            "A worker process was ended from outside, probably for want of memory; what is done is kept",
            hint="go on with fewer workers",
            code="worker_ended",
        ) from error
    except BaseException:  # Ctrl-C, an error, or nobody asks for more: what workers have at hand may have hours to go
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """It ends with the parent: one that is killed can tell nobody. Between two items Ctrl-C is the parent's."""
    from tqdm import tqdm

    import_late()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(RLock())  # its own is a semaphore of the system, which a worker that is ended would leave behind
    Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None  # this runs in workers alone
    wait([parent.sentinel])
    os._exit(1)


def _do_until_interrupted(work: Work[Any, Any], item: Any) -> Any:
    """As `_do`; Ctrl-C, which a terminal sends to workers too, ends the item at hand, which may have hours to go."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _do(work, item)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(work: Work[Any, Any], item: Any) -> Any:
    return _started(pickle.dumps(work))(item)


@lru_cache(maxsize=1)
def _started(work: bytes) -> Callable[[Any], Any]:
    """Pickled work, started once in this process."""
    return pickle.loads(work).start()


def _through_ray(work: Work[Item, Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Ray Data: a pool of `workers` actors on the cluster that Ray finds (RAY_ADDRESS), else a local one.

    The machines of a cluster must see the same folders by the same names.
    """
    check_ray("data")
    start_ray(cores=workers)
    import ray  # type: ignore[import-not-found]
    from ray.data import ActorPoolStrategy, DataContext  # type: ignore[import-not-found]
    from ray.exceptions import RayError  # type: ignore[import-not-found]

    DataContext.get_current().enable_progress_bars = False  # there is ours
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"item": pickle.dumps(item)} for item in items]
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), AT_ONCE * workers))
    worker: Any = _RayWorker  # Ray takes classes, which its types do not say
    pool = ActorPoolStrategy(size=min(len(rows), workers))
    done = dataset.map(worker, fn_constructor_args=(work,), compute=pool)
    try:
        for row in done.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, FacerefError):
                raise result
            yield result
    except RayError as error:
        raise FacerefError(
            f"Ray did not finish the work ({type(error).__name__}); what is done is kept",
            hint="go on with fewer workers or without Ray",
            code="ray_failed",
        ) from error


class _RayWorker:
    def __init__(self, work: Work[Any, Any]) -> None:
        self.work = work

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result = _do(self.work, pickle.loads(row["item"]))
        except FacerefError as error:  # what is raised here would come as an error of Ray's
            result = error
        return {"result": pickle.dumps(result)}
