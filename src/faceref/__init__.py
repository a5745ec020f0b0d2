"""faceref: restore a face so that it stays that person, by looking at other photographs of them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceref.errors import FacerefError
    from faceref.people.person import Person
    from faceref.restore.options import RestoreOptions
    from faceref.restore.restorer import Restorer
    from faceref.restore.result import Result

__all__ = ["FacerefError", "Person", "RestoreOptions", "Restorer", "Result"]

_HOMES = {
    "FacerefError": "faceref.errors",
    "Person": "faceref.people.person",
    "RestoreOptions": "faceref.restore.options",
    "Restorer": "faceref.restore.restorer",
    "Result": "faceref.restore.result",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `faceref --help` need not wait for torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'faceref' has no attribute {name!r}")
