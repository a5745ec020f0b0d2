"""The same work on each face of a photograph, on several cores at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work` of each item, in their order; no more are done ahead than there are threads, as each takes memory.

    As many threads as OMP_NUM_THREADS says, which torch goes by, too; else one for each core.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    threads = min(int(said) if said.isdecimal() else os.cpu_count() or 1, len(items))
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), threads):
            yield from pool.map(work, items[start : start + threads])
