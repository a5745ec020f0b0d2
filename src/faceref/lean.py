"""Imports that take seconds and that most commands do not use: they happen when they are used."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

COMPILER, STATISTICS = "torch._dynamo", "scipy.stats"


class LateModule(ModuleType):
    """In the place of a module that takes long to import, until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self), name)


class _Nothing:
    """Stands for classes of the compiler's: nothing is an instance of it."""


class LateCompiler(LateModule):
    """torch's compiler, which takes more than a second, until somebody compiles.

    diffusers imports it to mark functions for the case that they are compiled, and asks whether a network was compiled.
    To both it has the answer; for everything else it makes way for the real one.
    """

    eval_frame = SimpleNamespace(OptimizedModule=_Nothing)

    @staticmethod
    def allow_in_graph(function: Any) -> Any:
        return function

    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        return function or (lambda decorated: decorated)


def import_late() -> None:
    """From now on import torch's compiler when it is used; too late where diffusers has been imported.

    And scipy's statistics, which diffusers imports for schedules of noise that no model here has.
    """
    if "diffusers" in sys.modules:
        return
    sys.modules.setdefault(COMPILER, LateCompiler(COMPILER))
    sys.modules.setdefault(STATISTICS, LateModule(STATISTICS))


@contextmanager
def importing() -> Iterator[None]:
    """Import and load what takes long, and have Python look for garbage neither meanwhile nor in it afterwards.

    There is none: modules and weights live as long as the process, and walking through all of them again and again is a
    fifth of the time of a short command. Of one process only the first such load is kept out.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
        if collects:
            gc.enable()


def _real(stand_in: ModuleType) -> ModuleType:
    if sys.modules.get(stand_in.__name__) is stand_in:
        del sys.modules[stand_in.__name__]
    return importlib.import_module(stand_in.__name__)
