"""What a training run is made of: one YAML file, read into these classes; an unknown key is an error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from faceref.data.augment import REFLDM, ReferenceAugmentation
from faceref.data.dataset import FaceSource
from faceref.data.degradation import TRAINING, AnyRanges
from faceref.errors import UsageError
from faceref.pipelines.refldm import SchedulerName


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


class AutoencoderConfig(Config):
    """Architecture: the paper's VQGAN (diffusers' `VQModel`), or the low-resolution one of `small`."""

    kind: Literal["vq", "pixel_unshuffle"] = "vq"
    arguments: dict[str, Any] = {}  # handed to the class's constructor, which checks them


class StageConfig(Config):
    """What the configurations of all stages have."""

    stage: str
    data: DataConfig
    optimizer: OptimizerConfig
    loop: LoopConfig


class ReconstructionWeights(Config):
    """Weights of the VQGAN losses (ReF-LDM's released configuration)."""

    l1: float = 1.0
    perceptual: float = 1.0
    codebook: float = 1.0
    adversarial: float = 0.8
    identity: float = 0.0  # ours
    adversarial_from: int = 30_001  # step


class ReconstructionConfig(StageConfig):
    """What a network that makes pictures of pictures is trained for."""

    weights: ReconstructionWeights = ReconstructionWeights()
    perceptual: str = "recogniser"  # whose features the perceptual loss compares; or timm's name of a backbone
    recogniser: Path | None = None  # weights, safetensors or ONNX


class VQGANConfig(ReconstructionConfig):
    """The autoencoder, of either model."""

    stage: Literal["vqgan"]
    autoencoder: AutoencoderConfig
    initial: Path | None = None  # start from this trained autoencoder
    quantize_from: int = 0  # step; latents are decoded as they are before it, and its codebook is their k-means


class RestoringVQConfig(ReconstructionConfig):
    """LD-BFR's first stage: an autoencoder with a codebook learns to restore."""

    stage: Literal["restoring_vq"]
    autoencoder: Path  # folder of the autoencoder of HQ faces, trained with a codebook
    heads: int = 8  # of the spatial cross-attention
    encoder_share: float = 0.01  # of the learning rate; the attention has all of it, the decoder none


class NoiseConfig(Config):
    """The forward process; defaults are ReF-LDM's."""

    steps: int = 1000
    beta_start: float = 0.0015
    beta_end: float = 0.0155
    beta_schedule: str = "scaled_linear"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    zero_terminal_snr: bool = False
    terminal_share: float = 0.0  # share of the samples at the last timestep, where one-step sampling starts

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("with zero_terminal_snr the last step holds no signal: predict v_prediction or sample")
        return self


class IdentityLossConfig(Config):
    """Weight of the identity loss and how it depends on the timestep (ReF-LDM, Table 4)."""

    weight: float = 0.1
    scaling: Literal["none", "naive", "sqrt_alpha_bar", "t_below_100", "t_below_500"] = "sqrt_alpha_bar"
    jitter: bool = False  # compare the two pictures moved and mirrored alike: then no fixed pattern of pixels helps


class ModelConfig(Config):
    """What the exported model's faceref.json says of it."""

    name: str
    training_data: str
    licence: str
    steps: int = 50
    guidance: float = 1.5
    scheduler: SchedulerName = "ddim"


class DenoisingConfig(StageConfig):
    """What the denoisers of both models have."""

    autoencoder: Path  # folder of the trained autoencoder whose latents are denoised
    unet: dict[str, Any] = {}  # constructor arguments of the U-Net
    initial: Path | None = None  # start from this U-Net (a model folder or its unet/)
    noise: NoiseConfig = NoiseConfig()
    recogniser: Path | None = None
    model: ModelConfig


class DiffusionConfig(DenoisingConfig):
    """ReF-LDM: `ldm` sees the LQ latent only, `refldm` the references too. The identity loss is the latter's.

    `ldm` has it, too, if `identity` is set (ours).
    """

    stage: Literal["ldm", "refldm"]
    mechanism: Literal["cache_kv", "channel_concat", "cross_attention", "spatial_concat"] = "cache_kv"
    restoring: Path | None = None  # inject the features that this first stage of LD-BFR repairs (ours)
    lq_dropout: float = 0.1  # share of the samples whose LQ latent is zeroed
    reference_dropout: float = 0.1  # and whose references are, independently
    identity: IdentityLossConfig = IdentityLossConfig()

    @model_validator(mode="before")
    @classmethod
    def _without_references_no_identity_loss(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("stage") == "ldm":
            return {"identity": {"scaling": "none"}} | tree
        return tree

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.restoring is not None and self.mechanism != "cache_kv":
            raise ValueError("features (restoring) are injected beside cache_kv only, not beside another mechanism")
        return self


class LDBFRConfig(DenoisingConfig):
    """LD-BFR's second stage: a denoiser into which the repaired features of the first are injected."""

    stage: Literal["ldbfr"]
    restoring: Path  # folder of the trained first stage


class FusionConfig(ReconstructionConfig):
    """The last step of a trained model, either family's: what the LQ picture shows better is taken from it (ours)."""

    stage: Literal["fusion"]
    model: Path  # folder of the trained model; each sample is restored by it, with its number of steps
    initial: Path | None = None  # start from this one (a model folder or its fusion/)
    fusion: dict[str, Any] = {}  # constructor arguments of PixelFusion
    reference_dropout: float = 0.3  # share of the samples that are restored without references (ldbfr: all are)


TrainConfig = VQGANConfig | RestoringVQConfig | DiffusionConfig | LDBFRConfig | FusionConfig
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
