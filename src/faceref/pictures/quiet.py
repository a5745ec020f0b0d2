"""Pillow's warnings, caught: what it warns of is said in a photograph's own account, or does not matter."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Python has one list of warning filters for all threads: only one thread at a time may change it and give it back
_FILTERS = threading.RLock()


@contextmanager
def pillow_warnings() -> Iterator[list[str]]:
    """Show no warnings within the block; the list that is yielded holds them after it."""
    said: list[str] = []
    with _FILTERS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(warning.message) for warning in caught]
