"""What people are called after a while: names are given to others, photographs are not."""

from collections.abc import Collection
from contextlib import suppress
from itertools import chain

from faceref.errors import UsageError
from faceref.people.library import Library


def name_now(library: Library, name: str, photographs: Collection[str]) -> str:
    """What somebody is called now who had that name and was known by photographs of these digests.

    The same name, if nobody is known by them any more.
    """

    def is_known(candidate: str) -> bool:
        with suppress(UsageError):  # nobody has the name any more
            return set(photographs) <= set(library.digests(candidate))
        return False

    return next(filter(is_known, chain([name], (one.name for one in library.everybody()))), name)
