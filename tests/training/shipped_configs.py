"""The configurations that ship."""

from pathlib import Path

from faceref.training.config_files import load_config
from faceref.training.stages.configs import TrainConfig

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def config_of(folder: Path) -> TrainConfig:
    """The configuration whose run leaves its model in this folder: runs/NAME/model."""
    return load_config(ROOT / "configs" / f"{folder.parts[1]}.yaml")
