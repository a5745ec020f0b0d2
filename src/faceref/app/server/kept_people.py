"""Enrolled people in memory between requests, so that their faces are not read and judged again for each photograph."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from threading import Lock
from typing import Any

from faceref.people.library import Library
from faceref.people.names import name_now
from faceref.people.person import Person

KEPT = 320  # references of those used last; 20 take 16 MB

Key = tuple[str, str]  # owner and name


class KeptPeople:
    """The people of all owners, as they are enrolled now. Threads may share it."""

    def __init__(self, library: Callable[[str], Library]) -> None:
        """library: the people of an owner."""
        self._library = library
        self._kept: OrderedDict[Key, tuple[tuple[Any, ...], Person]] = OrderedDict()  # used last at the end
        self._forgotten = 0  # times
        self._lock = Lock()

    def forget(self, owner: str) -> None:
        """No face of the owner's people stays in memory, as where one is removed; who is needed is read again."""
        with self._lock:
            self._forgotten += 1
            for key in [key for key in self._kept if key[0] == owner]:
                del self._kept[key]

    def called(self, owner: str, name: str, photographs: Collection[str]) -> str:
        """As `name_now` of the owner's people."""
        return name_now(self._library(owner), name, photographs)

    def get(self, owner: str, name: str) -> Person:
        """As `Library.get`; whoever was changed or removed since is not in memory any more."""
        key = (owner, name)
        with self._lock:
            stamp, person = self._kept.pop(key, (None, None))
            forgotten = self._forgotten
        library = self._library(owner)
        now = library.stamp(name)
        if person is None or now != stamp:
            person = library.get(name)
        with self._lock:
            if forgotten == self._forgotten:  # else they may have been removed since they were read
                self._kept[key] = (now, person)
            while len(self._kept) > 1 and sum(len(one.references) for _, one in self._kept.values()) > KEPT:
                self._kept.popitem(last=False)
        return person
