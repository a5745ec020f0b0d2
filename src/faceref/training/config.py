"""What every training run is made of: its data, its optimizer, its loop. What a stage adds is in stages/configs.py."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from faceref.checkpoints.info import NAMED
from faceref.data.augment import REFLDM, UNCHANGED, ReferenceAugmentation, TargetAugmentation
from faceref.data.dataset import FaceSource
from faceref.data.degradation import TRAINING, DegradationRanges
from faceref.data.mixed_degradation import AnyRanges


class Config(BaseModel):
    """Base of all configuration classes: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _name_or_folder(given: object) -> object:
    """What Path would make a model's name of, ./small, stays a folder."""
    is_folder = isinstance(given, str) and str(Path(given)) in NAMED and given not in NAMED
    return Path(str(given)).absolute() if is_folder else given


NetworkFolder = Annotated[Path, BeforeValidator(_name_or_folder)]  # of a network or of a model with it; or its name
Momentum = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
# YAML reads no as false
Precision = Annotated[Literal["no", "bf16", "fp16"], BeforeValidator(lambda given: "no" if given is False else given)]
DRAW_DETAIL = ("end_to_end", "crisp")  # stages
SHOW_REFERENCES = ("refldm", "recognition", "end_to_end", "crisp")  # stages


class DataConfig(Config):
    """Photographs to train and validate on, all brought to one resolution."""

    root: Path = Path("data")  # folders of the sources lie here, mappings too
    sources: tuple[FaceSource, ...] = Field(min_length=1)
    validation: tuple[FaceSource, ...] = Field(min_length=1)
    split: str = "train"
    validation_split: str = "val"
    resolution: int = Field(default=512, ge=8, multiple_of=8)
    references: int = Field(default=5, ge=0)  # per sample; repeated where a person has fewer
    only_with_references: bool = False
    prefer_sharp: bool = False  # draw photographs in proportion to their sharpness
    degradation: AnyRanges = TRAINING  # or a list: each sample is degraded within one of them
    augmentation: ReferenceAugmentation = REFLDM  # of the references
    of_targets: TargetAugmentation = UNCHANGED
    cache: Path | None = None  # decoded photographs are kept in this folder, and mapped from there
    memory_gb: float = Field(default=4.0, ge=0)  # without a cache: what decoded photographs may take in a process
    skip_damaged: bool = False  # go on without photographs that cannot be read
    workers: int = Field(default=0, ge=0)
    on_device: bool = False  # all decoded photographs are kept where the networks are

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = self.degradation if isinstance(self.degradation, tuple) else (self.degradation,)
        ranges = [one for one in given if isinstance(one, DegradationRanges)]
        if len({one.at(self.resolution).kernel_size for one in ranges}) > 1:
            raise ValueError("the degradations of a list need one kernel_size and one resolution")
        if any(one.at(self.resolution).kernel_size >= 2 * self.resolution for one in ranges):
            raise ValueError("kernel_size must be less than twice the pictures' side")
        if len(ranges) < len(given) and self.resolution % 16:
            raise ValueError("degradations as photographs have them need a resolution that is a multiple of 16")
        return self


class OptimizerConfig(Config):
    """AdamW with linear warm-up and a cosine to `final_ratio` of the learning rate."""

    learning_rate: float = Field(ge=0, allow_inf_nan=False)
    warmup_steps: int = Field(default=0, ge=0)
    final_ratio: float = Field(default=1.0, ge=0, le=1)
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip_norm: float = Field(default=1.0, gt=0)


class PoolConfig(Config):
    """Where a batch is dear to make: samples made many at a time, and each trained on several times, in new company."""

    samples: int = Field(default=1024, ge=1)  # held at a time by each process; some 3 MB each at 256 px
    at_once: int = Field(default=128, ge=1)  # of them in one pass
    visits: int = Field(default=4, ge=1)  # how often each is trained on


class LowRankConfig(Config):
    """What is trained differs from a model by matrices of low rank, which take little room (LoRA)."""

    rank: int = Field(ge=1)
    of: str | Path = "small"  # that model, its folder or small


class LoopConfig(Config):
    """How long, how many at a time, and how often to look."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # per process and accumulation step
    accumulate: int = Field(default=1, ge=1)
    pool: PoolConfig | None = None  # None: each batch is made for one step
    precision: Precision = "bf16"
    ema_decay: float = Field(default=0.9999, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    log_every: int = Field(default=20, ge=1)
    validate_every: int = Field(default=1000, ge=1)
    validation_samples: int = Field(default=8, ge=1)
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    milestones: Positive | tuple[Positive, ...] = ()  # steps whose checkpoints stay; a number: its multiples
    gradient_checkpointing: bool = False  # a third slower, and memory for a few times as large a batch
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pool is not None and (self.accumulate > 1 or self.pool.samples % self.batch_size):
            raise ValueError("a pool holds whole batches, and goes with accumulate: 1")
        if self.pool is not None and self.pool.samples % self.pool.at_once:
            raise ValueError("a pool is made in whole parts: set samples to a multiple of at_once")
        return self

    def samples_per_step(self, processes: int) -> int:
        """Of all processes together."""
        return self.batch_size * self.accumulate * processes

    def is_milestone(self, step: int) -> bool:
        """Whether the checkpoint of this step is written and kept for good."""
        if isinstance(self.milestones, int):
            return step % self.milestones == 0
        return step in self.milestones


class StageConfig(Config):
    """What the configurations of all stages have."""

    stage: str
    data: DataConfig
    optimizer: OptimizerConfig
    loop: LoopConfig

    @model_validator(mode="after")
    def _has_references_to_show(self) -> Self:
        if self.stage in SHOW_REFERENCES and not self.data.references:
            raise ValueError(f"the stage {self.stage} shows references: set data.references to 1 or more")
        return self
