"""What ReF-LDM's and LD-BFR's denoisers share in training: noise, what the network is asked for, how it is judged."""

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import save_model
from faceref.errors import UsageError
from faceref.models.autoencoder import Autoencoder, encode
from faceref.models.identity import FaceRecogniser
from faceref.models.low_rank import merged
from faceref.pipelines.loading import load_scheduler
from faceref.pipelines.protocol import FacePipeline
from faceref.training.stages.components import model_around
from faceref.training.stages.configs import DenoisingConfig
from faceref.training.stages.noise import build_scheduler
from faceref.training.stages.stage import Batch, Stage

log = logging.getLogger(__name__)

FORWARD = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr")
ASKED_FOR = "prediction_type"  # a U-Net has learnt this, of this forward process


class DenoisingStage(Stage):
    """A U-Net that learns to denoise the latents of a frozen autoencoder."""

    family: Literal["refldm", "ldbfr"]

    def __init__(
        self,
        config: DenoisingConfig,
        unet: UNet2DModel,
        vae: Autoencoder,
        recogniser: FaceRecogniser | None,
        **others: nn.Module | None,
    ):
        """`others` are networks that the loss needs, too, and nobody trains.

        Raises UsageError for a U-Net that cannot predict what it is asked for.
        """
        super().__init__()
        if unet.config.get("lq_residual") and config.noise.prediction_type != "sample":
            hint = "set noise.prediction_type to sample, or take a U-Net without lq_residual"
            raise UsageError("The LQ latent is a part of what a U-Net with lq_residual predicts", hint=hint)
        self.noise, self.data, self.model = config.noise, config.data, config.model
        self.unet = unet
        self.scheduler = build_scheduler(config.noise)
        if config.initial is not None:
            _compare_noise(config.initial, self.scheduler)
        self.keep_frozen(vae=vae, recogniser=recogniser, **others)

    @property
    def vae(self) -> Autoencoder:
        return self.frozen["vae"]

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.unet: 1.0}

    def averaged(self) -> nn.Module:
        return self.unet

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to pictures and their latents.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], references [B, N, 3, H, W], has_references [B];
        hq_latent [B, C, h, w], mask_latent [B, 1, h, w].
        """
        pictures = self.degraded(items, self.data, generator)
        hq_latent = encode(self.vae, pictures["hq"]).float()
        mask_latent = F.interpolate(pictures["mask"], size=hq_latent.shape[-2:], mode="area")
        return pictures | {"hq_latent": hq_latent, "mask_latent": mask_latent}

    def add_noise(self, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [B, C, h, w] -> noisy ones at random timesteps, those timesteps [B], and what to predict."""
        size, device = len(x0), x0.device
        timesteps = torch.randint(self.noise.steps, (size,), generator=generator, device=device)
        terminal = torch.rand(size, generator=generator, device=device) < self.noise.terminal_share
        timesteps[terminal] = self.noise.steps - 1
        noise = torch.randn(x0.shape, generator=generator, device=device)
        x_t = self.scheduler.add_noise(x0, noise, timesteps)  # type: ignore[arg-type]
        return x_t, timesteps, self.target(x0, noise, timesteps)

    def target(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network is asked for: the noise, v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x0, or x0."""
        match self.noise.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                return self.scheduler.get_velocity(x0, noise, timesteps)  # type: ignore[arg-type]
            case "sample":
                return x0

    def alpha_bar(self, timesteps: Tensor) -> Tensor:
        """The cumulative product of the noise schedule, [B]."""
        return self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]

    def estimate_x0(self, output: Tensor, x_t: Tensor, timesteps: Tensor) -> Tensor:
        """x0_hat from the network's output at t, in one step."""
        alpha_bar = self.alpha_bar(timesteps)[:, None, None, None]
        signal, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        match self.noise.prediction_type:
            case "epsilon":
                return (x_t - sigma * output) / signal
            case "v_prediction":
                return signal * x_t - sigma * output
            case "sample":
                return output

    @abstractmethod
    def pipeline(self) -> FacePipeline:
        """The model as it is used, on the present weights."""

    def export(self, folder: Path) -> None:
        info = ModelInfo(family=self.family, resolution=self.data.resolution, **self.model.model_dump())
        save_model(merged(self.pipeline()), info, folder)


def _compare_noise(initial: Path, scheduler: DDIMScheduler) -> None:
    """Warn where the model that is begun from has learnt of another noise. Raises CheckpointError for a damaged one."""
    model = model_around(initial)
    if not (model / "scheduler").is_dir():
        return
    before = load_scheduler(model).config
    differs = [name for name in (*FORWARD, ASKED_FOR) if before[name] != scheduler.config[name]]
    if differs:
        told = ", ".join(f"{name} {before[name]}, not {scheduler.config[name]}" for name in differs)
        log.warning("%s was trained with another noise (%s); that of this configuration is used.", initial, told)
