"""A subclass of a diffusers model with settings of its own beside the inherited ones."""

import functools
import inspect
from collections.abc import Callable
from typing import Any


def extends_configuration(base: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For `__init__(self, *args, own=..., **kwargs)` of a subclass of `base`: its own settings are saved, too.

    diffusers takes the names of a class's configuration from the signature of its __init__, so that *args and **kwargs
    have to be spelled out there: the signature becomes that of `base` and the keyword-only parameters.
    """

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        own = [one for one in inspect.signature(init).parameters.values() if one.kind is one.KEYWORD_ONLY]

        @functools.wraps(init)
        def extended(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            self.register_to_config(**{one.name: kwargs.get(one.name, one.default) for one in own})

        inherited = inspect.signature(base.__init__)
        extended.__signature__ = inherited.replace(  # type: ignore[attr-defined]
            parameters=[*inherited.parameters.values(), *own]
        )
        return extended

    return decorate
