"""Imports that take seconds and that a command which only restores does not use: they happen when they are used."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

COMPILER = "torch._dynamo"


class _Nothing:
    """Stands for classes of the compiler's: nothing is an instance of it."""


class LazyCompiler(ModuleType):
    """In the place of torch's compiler, which takes more than a second to import, until somebody compiles.

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

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real_compiler(self), name)


def import_compiler_late() -> None:
    """From now on import torch's compiler when it is used; too late where diffusers has been imported."""
    if "diffusers" not in sys.modules and COMPILER not in sys.modules:
        sys.modules[COMPILER] = LazyCompiler(COMPILER)


def _real_compiler(stand_in: ModuleType) -> ModuleType:
    if sys.modules.get(COMPILER) is stand_in:
        del sys.modules[COMPILER]
    return importlib.import_module(COMPILER)
