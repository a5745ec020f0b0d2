"""The configuration of each stage: what it has beside data, optimizer and loop."""

from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from faceref.errors import UsageError
from faceref.pipelines.sampling import make_sampler
from faceref.pipelines.scheduler_name import SchedulerName
from faceref.pipelines.settings import RELEASED, Sampling
from faceref.training.config import DRAW_DETAIL, Config, DataConfig, LowRankConfig, NetworkFolder, Share, StageConfig
from faceref.training.stages.loss_weights import JudgedWeights, LikenessWeights, ReconstructionWeights, Weight
from faceref.training.stages.noise import NoiseConfig, build_scheduler
from faceref.training.stages.unet_arguments import UNetArguments, check_unet

Part = Literal["eyes", "mouth"]


class AutoencoderConfig(Config):
    """Architecture: the paper's VQGAN (diffusers' `VQModel`), or the low-resolution one of `small`."""

    kind: Literal["vq", "pixel_unshuffle"] = "vq"
    arguments: dict[str, Any] = Field(default={})  # handed to the class's constructor, which checks them


class JudgedConfig(StageConfig):
    """What a network that makes pictures is trained for, beside a discriminator."""

    weights: JudgedWeights = JudgedWeights()
    discriminator_channels: int = Field(default=64, ge=16, multiple_of=16)  # of the discriminator's first layer
    perceptual: str = "recogniser"  # whose features the perceptual loss compares; or timm's name of a backbone
    recogniser: Path | None = None  # weights, safetensors or ONNX


class ReconstructionConfig(JudgedConfig):
    """What a network that makes pictures of pictures is trained for."""

    weights: ReconstructionWeights = ReconstructionWeights()


class VQGANConfig(ReconstructionConfig):
    """The autoencoder, of either model."""

    stage: Literal["vqgan"]
    autoencoder: AutoencoderConfig = AutoencoderConfig()  # a new one
    initial: NetworkFolder | None = None  # or start from this trained one (a model, or its vae/)
    # step; latents are decoded as they are before it, and its codebook is their k-means
    quantize_from: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.initial is not None and self.autoencoder != AutoencoderConfig():
            raise ValueError("autoencoder is of a new one: leave it out, or leave out initial")
        return self


class RestoringVQConfig(ReconstructionConfig):
    """LD-BFR's first stage: an autoencoder with a codebook learns to restore."""

    stage: Literal["restoring_vq"]
    autoencoder: NetworkFolder  # folder of the autoencoder of HQ faces, trained with a codebook
    heads: int = Field(default=8, ge=1)  # of the spatial cross-attention
    encoder_share: Share = 0.01  # of the learning rate; the attention has all of it, the decoder none


class IdentityLossConfig(Config):
    """Weight of the identity loss and how it depends on the timestep (ReF-LDM, Table 4)."""

    weight: Weight = 0.1
    scaling: Literal["none", "naive", "sqrt_alpha_bar", "t_below_100", "t_below_500"] = "sqrt_alpha_bar"
    jitter: bool = False  # compare the two pictures moved and mirrored alike: then no fixed pattern of pixels helps


class ModelConfig(Config):
    """What the exported model's faceref.json says of it."""

    name: str
    training_data: str
    licence: str
    steps: int = Field(default=RELEASED.steps, ge=1)
    guidance: Weight = RELEASED.guidance
    scheduler: SchedulerName = RELEASED.scheduler

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.steps, self.guidance, self.scheduler)


class DenoisingConfig(StageConfig):
    """What the denoisers of both models have."""

    autoencoder: NetworkFolder  # the trained one whose latents are denoised (a model, or its vae/)
    unet: UNetArguments = Field(default={})  # of a new one
    initial: NetworkFolder | None = None  # start from this U-Net (a model, or its unet/)
    noise: NoiseConfig = NoiseConfig()
    recogniser: Path | None = None
    model: ModelConfig

    @model_validator(mode="after")
    def _new_or_trained(self) -> Self:
        if self.initial is not None and self.unet:
            raise ValueError("unet is of a new one: leave it out, or leave out initial")
        steps = self.model.steps
        try:
            make_sampler(build_scheduler(self.noise), self.model.scheduler, steps)
        except UsageError as error:
            told = f"model.steps: {steps} are not possible with noise.steps {self.noise.steps} ({error.reason})"
            raise ValueError(told) from error
        return self


class DiffusionConfig(DenoisingConfig):
    """ReF-LDM: `ldm` sees the LQ latent only, `refldm` the references too. The identity loss is the latter's.

    `ldm` has it, too, if `identity` is set (ours).
    """

    stage: Literal["ldm", "refldm"]
    mechanism: Literal["cache_kv", "channel_concat", "cross_attention", "spatial_concat"] = "cache_kv"
    restoring: NetworkFolder | None = None  # inject the features that this first stage of LD-BFR repairs (ours)
    lq_dropout: Share = 0.1  # share of the samples whose LQ latent is zeroed
    reference_dropout: Share = 0.1  # and whose references are, independently
    identity: IdentityLossConfig = IdentityLossConfig()
    low_rank: LowRankConfig | None = None  # None: all weights are trained

    @model_validator(mode="before")
    @classmethod
    def _without_references_no_identity_loss(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("stage") == "ldm":
            return {"identity": {"scaling": "none"}} | tree
        return tree

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_unet(self.unet, pictures=2)
        if self.restoring is not None and self.mechanism != "cache_kv":
            raise ValueError("features (restoring) are injected beside cache_kv only, not beside another mechanism")
        if self.low_rank is not None and self.initial is None:
            raise ValueError("low_rank is for a U-Net that goes on: set initial")
        return self


class LDBFRConfig(DenoisingConfig):
    """LD-BFR's second stage: a denoiser into which the repaired features of the first are injected."""

    stage: Literal["ldbfr"]
    restoring: NetworkFolder  # folder of the trained first stage

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_unet(self.unet, pictures=1)
        return self


class FusionConfig(ReconstructionConfig):
    """The last step of a trained model, either family's: what the LQ picture shows better is taken from it (ours)."""

    stage: Literal["fusion"]
    model: str | Path  # a trained one, its folder or small; each sample is restored by it, with its number of steps
    initial: NetworkFolder | None = None  # start from this one (a model, or its fusion/)
    fusion: dict[str, Any] = Field(default={})  # constructor arguments of PixelFusion
    reference_dropout: Share = 0.3  # share of the samples that are restored without references (ldbfr: all are)


class DrawingConfig(StageConfig):
    """A one-step denoiser of the family refldm, and the decoder that draws its latents larger (ours)."""

    weights: LikenessWeights = LikenessWeights()
    recogniser: Path | None = None  # weights, safetensors or ONNX
    model: str | Path  # the one to begin from: its folder, or small
    unet: NetworkFolder | None = None  # another denoiser for it (a model, or its unet/)
    # constructor arguments of a new DetailDecoder, which the model is given if it has none, or if there are any
    detail: dict[str, Any] = Field(default={})
    low_rank: LowRankConfig | None = None  # None: all weights are trained
    reference_dropout: Share = 0.2  # share of the samples without references; the others have any number up to all

    @model_validator(mode="after")
    def _goes_on_within_low_rank(self) -> Self:
        if self.low_rank is not None and self.detail:
            raise ValueError("low_rank is for a decoder that goes on: leave detail out")
        return self


class EndToEndConfig(DrawingConfig):
    """Denoiser and decoder are trained together: by L1, also at half the size, and identity."""

    stage: Literal["end_to_end"]
    latent: Weight = 0.2  # of the squared distance between the latents, which keeps them what the autoencoder decodes
    unet_share: Share = 1.0  # of the learning rate


class CrispConfig(JudgedConfig, DrawingConfig):
    """The decoder, shown the references' texture, learns to draw photographs; the denoiser may learn with it.

    The adversarial weight is fixed.
    """

    stage: Literal["crisp"]
    weights: JudgedWeights = JudgedWeights()
    matching: Weight = 0.5  # of the distance between the discriminator's feature maps (Wang et al. 2018, pix2pixHD)
    crisp: Share = 0.5  # of the exported model, unless it is told; what blind readers preferred (docs/experiments.md)
    judged: int = Field(default=192, ge=8, multiple_of=8)  # side of the square, somewhere, that the discriminator sees
    unet_share: Share = 0.0  # of the learning rate; 0: the denoiser stays as it is
    latent: Weight = 0.2  # as of `EndToEndConfig`, where the denoiser learns
    # that have discriminators of their own, and how much these count, that one being 1; a number: all of them
    parts: dict[Part, Weight] = Field(default={})

    @field_validator("parts", mode="before")
    @classmethod
    def _all_parts(cls, given: Any) -> Any:
        if isinstance(given, int | float):
            return dict.fromkeys(get_args(Part), given) if given else {}
        return given


class RecognitionConfig(StageConfig):
    """dlib's recogniser, trained on for degraded faces (ours)."""

    stage: Literal["recognition"]
    contrast: Weight = 0.1  # of telling a person's photograph from others', beside the distance to dlib's embedding
    temperature: float = Field(default=0.05, gt=0)  # of that contrast; squared distances of strangers are some 0.7
    jitter: float = Field(default=0.03, ge=0)  # of the chips


class CleaningConfig(StageConfig):
    """A network that cleans photographs, for what lies around faces (ours)."""

    stage: Literal["cleaning"]
    crop: int = Field(default=128, ge=16, multiple_of=16)  # side of what is trained on, of each photograph a part
    white: Share = 0.2  # share of the samples that get white noise and nothing else: degradations end in JPEG
    white_noise: float = Field(default=50.0, ge=0, le=255)  # its deviation on the 0..255 scale, up to
    cleaner: dict[str, Any] = Field(default={})  # constructor arguments of a new PictureCleaner
    initial: NetworkFolder | None = None  # or go on from this one

    @model_validator(mode="after")
    def _new_or_trained(self) -> Self:
        if self.initial is not None and self.cleaner:
            raise ValueError("cleaner is of a new one: leave it out, or leave out initial")
        return self


def check_used(config: StageConfig) -> None:
    """Raises UsageError for a setting of the data that says nothing to the stage.

    Runs that had one before may go on with it.
    """
    if config.stage not in DRAW_DETAIL and any(source.coarse for source in config.data.sources):
        raise UsageError(f"data.sources: coarse says nothing to the stage {config.stage}", hint="leave it out")
    for name in ("degradation", "augmentation", "of_targets") if isinstance(config, VQGANConfig) else ():
        if getattr(config.data, name) != DataConfig.model_fields[name].default:
            raise UsageError(f"data.{name} says nothing to the stage {config.stage}", hint="leave it out")


TrainConfig = (
    VQGANConfig
    | RestoringVQConfig
    | DiffusionConfig
    | LDBFRConfig
    | FusionConfig
    | EndToEndConfig
    | CrispConfig
    | RecognitionConfig
    | CleaningConfig
)
