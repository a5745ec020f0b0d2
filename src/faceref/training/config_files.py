"""Configurations on disk: one YAML file, read into the classes of its stage; an unknown key is an error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from faceref.errors import UsageError
from faceref.files import write_atomically
from faceref.training.config import Config
from faceref.training.stages.configs import TrainConfig

_ANY_STAGE: TypeAdapter[TrainConfig] = TypeAdapter(Annotated[TrainConfig, Field(discriminator="stage")])


class _EachOnce(yaml.SafeLoader):
    """Refuses what YAML allows: a second group of one name, which takes the place of the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        named = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)] if node.id == "mapping" else []
        for place, key in enumerate(named):
            if key.value in (before.value for before in named[:place]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file; `overrides` are "key.subkey=value" with values in YAML.

    `include: other.yaml` in a file (relative to it) begins with the settings of that one, group by group.
    Raises UsageError naming what is wrong.
    """
    tree = _read_tree(Path(path))
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise UsageError(
                f"Cannot read the setting {override!r}", hint="write key=value, for example loop.steps=1000"
            )
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"Cannot set {key}: {parent} in {path} is a value, not a group of settings")
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"Cannot read the value of the setting {override!r}: it is not valid YAML") from error
    try:
        return _ANY_STAGE.validate_python(tree)
    except ValidationError as error:
        raise UsageError(f"cannot be used: {'; '.join(map(_problem, error.errors()))}", subject=path) from error


def _problem(error: ErrorDetails) -> str:
    """Where it is, and what; the first part of the place is the stage, and what concerns several settings has none."""
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"stage: {reason}"
    place = ".".join(map(str, error["loc"][1:]))
    return f"{place}: {reason}" if place else reason


def _read_tree(path: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a file over those of the file that it includes."""
    if path.resolve() in including:
        raise UsageError("includes itself", subject=path, hint="take the include out")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _EachOnce)
    except OSError as error:
        raise UsageError(f"Cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError("is not a text file in UTF-8, so not a configuration", subject=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = f"{getattr(error, 'problem', error)}, line {mark.line + 1}" if mark else " ".join(str(error).split())
        raise UsageError(f"is not valid YAML: {problem}", subject=path) from error
    if not isinstance(tree, dict):
        raise UsageError("is not a configuration: it should hold keys and values", subject=path)
    included = tree.pop("include", None)
    if included is None:
        return tree
    if not isinstance(included, str):
        raise UsageError("include should name one file", subject=path)
    return _merged(_read_tree(path.parent / included, (*including, path.resolve())), tree)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Groups of settings are merged, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def save_config(config: Config, path: Path) -> None:
    """Write the configuration, defaults included, as YAML that `load_config` reads back."""
    with write_atomically(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
