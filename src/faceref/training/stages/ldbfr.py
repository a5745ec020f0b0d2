"""LD-BFR's stages: the vector-quantised restoration (restoring_vq), and the denoiser that uses its features (ldbfr).

The autoencoders of both are trained as ReF-LDM's (vqgan). Learning-rate ratios, losses and degradation are those of the
released code.
"""

from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS, Autoencoder
from faceref.models.identity import FaceRecogniser
from faceref.models.ldbfr import InjectedUNet, RestoringVQModel
from faceref.models.loading import load_component
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.training.losses import masked_mean
from faceref.training.pictures import compare, contact_sheet, psnr, ssim
from faceref.training.stages.components import (
    autoencoder_of,
    check_features,
    judges,
    new_unet,
    recogniser_of,
)
from faceref.training.stages.configs import LDBFRConfig, RestoringVQConfig
from faceref.training.stages.denoising import DenoisingStage
from faceref.training.stages.stage import Batch, Losses
from faceref.training.stages.vqgan import ReconstructionStage, vq_model


class RestoringVQStage(ReconstructionStage):
    """Stage 1: degraded photographs are to be decoded to the good ones, with the losses of a VQGAN.

    The attention block has the whole learning rate, the encoder a hundredth, decoder and codebook none (released code;
    that the codebook is the decoder's is our reading).
    """

    def __init__(
        self,
        config: RestoringVQConfig,
        model: RestoringVQModel,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
    ):
        super().__init__(config, perceptual, recogniser)
        self.data, self.encoder_share = config.data, config.encoder_share
        self.model = model
        vq = vq_model(model.autoencoder)
        model.autoencoder.requires_grad_(False)
        self.encoder = (vq.encoder, vq.quant_conv)
        for module in self.encoder:
            module.requires_grad_(True)
        vq.decoder.conv_out.weight.requires_grad_(True)  # nobody moves it, but the adaptive weight is measured there

    @classmethod
    def build(cls, config: RestoringVQConfig, faces: FaceDataset) -> Self:
        autoencoder = load_component(config.autoencoder, AUTOENCODERS, "vae")
        if not autoencoder.config.get("quantize", True):
            raise UsageError(
                "was trained without its codebook", subject=config.autoencoder, hint="train one with quantize: true"
            )
        return cls(config, RestoringVQModel.from_autoencoder(autoencoder, config.heads), *judges(config))

    @property
    def last_layer(self) -> Tensor:
        return vq_model(self.model.autoencoder).decoder.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        if turn == "discriminator":
            return {self.discriminator: 1.0}
        shares: dict[nn.Module, float] = {self.model.attention: 1.0}
        return shares | dict.fromkeys(self.encoder, self.encoder_share)

    def averaged(self) -> nn.Module:
        return self.model

    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """uint8 photographs -> {hq, lq [B, 3, H, W] in [-1, 1], mask [B, 1, H, W]}, degraded, half of them mirrored."""
        return self.degraded(items, self.data, generator)

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        restored = self.model(batch["lq"])
        return restored.sample, restored.codebook_loss

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """PSNR (dB) and SSIM of held-out restorations, and of their inputs; rows: LQ, restored, truth."""
        hq, lq = batch["hq"], batch["lq"]
        restored = self.reconstruct(batch)[0].float().clamp(-1, 1)
        metrics = {}
        for name, pictures in (("", restored), ("_lq", lq)):
            metrics[f"psnr{name}"] = psnr(pictures, hq, batch["mask"])
            metrics[f"ssim{name}"] = ssim(pictures, hq, batch["mask"])
        return metrics, contact_sheet([lq, restored, hq])

    def export(self, folder: Path) -> None:
        """Write the model in diffusers' format."""
        self.model.save_pretrained(folder)


class LDBFRStage(DenoisingStage):
    """Stage 2: L_diffusion of latents of the HQ photograph, with the features q' of its LQ twin injected."""

    family = "ldbfr"
    best_by = "psnr_restored"

    def __init__(
        self,
        config: LDBFRConfig,
        unet: InjectedUNet,
        vae: Autoencoder,
        restoring: RestoringVQModel,
        recogniser: FaceRecogniser | None,
    ):
        super().__init__(config, unet, vae, recogniser, restoring=restoring)
        self.unet: InjectedUNet = unet

    @classmethod
    def build(cls, config: LDBFRConfig, faces: FaceDataset) -> Self:
        unet = (
            load_component(config.initial, (InjectedUNet,), "unet")
            if config.initial
            else new_unet(InjectedUNet, config.unet)
        )
        restoring = load_component(config.restoring, (RestoringVQModel,), "vq")
        check_features(unet, restoring, config.restoring)
        return cls(
            config,
            unet,
            autoencoder_of(unet, config.autoencoder, config.data.resolution),
            restoring,
            recogniser_of(config),
        )

    @property
    def restoring(self) -> RestoringVQModel:
        return self.frozen["restoring"]

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """As `DenoisingStage.make_batch`, and features [B, c, s, s]."""
        batch = super().make_batch(items, generator)
        batch["features"] = self.restoring.features(batch["lq"], self.unet.config["feature_size"]).float()
        return batch

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        x_t, timesteps, target = self.add_noise(batch["hq_latent"], generator)
        output = self.unet(x_t, timesteps, batch["features"]).sample.float()
        loss = masked_mean((output - target).square(), batch["mask_latent"])
        return loss, {"diffusion": loss.detach()}

    def pipeline(self) -> LDBFRPipeline:
        pipeline = LDBFRPipeline(vq=self.restoring, unet=self.unet, vae=self.vae, scheduler=self.scheduler)
        pipeline.set_progress_bar_config(disable=True)  # the loop has one
        return pipeline

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Restore held-out faces; rows: LQ, stage 1 alone, both stages, truth."""
        hq, lq = batch["hq"], batch["lq"]
        noise = torch.randn(batch["hq_latent"].shape, generator=generator, device=hq.device)
        sampling = replace(self.model.sampling, guidance=1.0)
        pipeline = self.pipeline()
        result = pipeline(lq, latents=noise, output_type="raw", **sampling.arguments())
        pictures = {"lq": lq, "stage1": pipeline.restore_stage1(lq), "restored": torch.as_tensor(result.images)}
        return compare(pictures, hq, batch["mask"], self.recogniser), contact_sheet([*pictures.values(), hq])
