"""Configurations on disk: one YAML file, read into the classes of its stage; an unknown key is an error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from faceref.errors import UsageError
from faceref.training.config import Config
from faceref.training.stages.configs import TrainConfig

_ANY_STAGE: TypeAdapter[TrainConfig] = TypeAdapter(Annotated[TrainConfig, Field(discriminator="stage")])


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML file; `overrides` are "key.subkey=value" with values in YAML.

    Raises UsageError naming what is wrong.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file in UTF-8, so not a configuration.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}.") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path} is not a configuration: it should hold keys and values.")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise UsageError(f"Cannot read the setting {override!r}: write key=value, for example loop.steps=1000.")
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"Cannot set {key}: {parent} in {path} is a value, not a group of settings.")
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"Cannot read the value of the setting {override!r}: it is not valid YAML.") from error
    try:
        return _ANY_STAGE.validate_python(tree)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'][1:])) or 'stage'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path} cannot be used: {problems}.") from error


def save_config(config: Config, path: Path) -> None:
    """Write the configuration, defaults included, as YAML that `load_config` reads back."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
