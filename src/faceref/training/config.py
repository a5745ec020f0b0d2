"""What every training run is made of: its data, its optimizer, its loop. What a stage adds is in stages/configs.py."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from faceref.data.augment import REFLDM, ReferenceAugmentation
from faceref.data.dataset import FaceSource
from faceref.data.degradation import TRAINING, AnyRanges


class Config(BaseModel):
    """Base of all configuration classes: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Config):
    """Photographs to train and validate on, all brought to one resolution."""

    root: Path = Path("data")  # folders of the sources lie here, mappings too
    sources: tuple[FaceSource, ...] = Field(min_length=1)
    validation: tuple[FaceSource, ...] = Field(min_length=1)
    split: str = "train"
    validation_split: str = "val"
    resolution: int = 512
    references: int = 5  # per sample; repeated where a person has fewer
    only_with_references: bool = False
    prefer_sharp: bool = False  # draw photographs in proportion to their sharpness
    degradation: AnyRanges = TRAINING  # or a list: each sample is degraded within one of them
    augmentation: ReferenceAugmentation = REFLDM  # of the references
    cache: Path | None = None  # decoded photographs are mapped from here instead of held in memory
    workers: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        ranges = self.degradation if isinstance(self.degradation, tuple) else (self.degradation,)
        if len({one.at(self.resolution).kernel_size for one in ranges}) != 1:
            raise ValueError("the degradations of a list need one kernel_size and one resolution")
        return self


class OptimizerConfig(Config):
    """AdamW with linear warm-up and a cosine to `final_ratio` of the learning rate."""

    learning_rate: float
    warmup_steps: int = 0
    final_ratio: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float = 1.0


class LoopConfig(Config):
    """How long, how many at a time, and how often to look."""

    steps: int
    batch_size: int  # per process and accumulation step
    accumulate: int = 1
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    ema_decay: float = 0.9999
    seed: int = Field(default=0, ge=0, lt=2**63)
    log_every: int = 20
    validate_every: int = 1000
    validation_samples: int = 8
    checkpoint_minutes: float = 5.0


class StageConfig(Config):
    """What the configurations of all stages have."""

    stage: str
    data: DataConfig
    optimizer: OptimizerConfig
    loop: LoopConfig
