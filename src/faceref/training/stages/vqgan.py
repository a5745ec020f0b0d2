"""The autoencoder (VQGAN, Esser et al. 2021; the weights of its losses are ReF-LDM's), and its losses for others."""

from abc import abstractmethod
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import VQModel
from diffusers.models.autoencoders.vae import DecoderOutput
from PIL import Image
from torch import Tensor, nn

from faceref.data.dataset import FaceDataset
from faceref.data.decoded import DecodedPhotographs
from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS, Autoencoder, PixelUnshuffleVQModel, encode
from faceref.models.identity import FaceRecogniser
from faceref.models.loading import load_component
from faceref.processes import is_main, take_from_main
from faceref.training.discriminators import PatchDiscriminator
from faceref.training.losses import (
    adaptive_weight,
    adversarial_loss,
    hinge_discriminator_loss,
    identity_similarity,
    masked_mean,
    perceptual_distance,
)
from faceref.training.pictures import contact_sheet, psnr, ssim
from faceref.training.stages.components import judges, new_network
from faceref.training.stages.configs import AutoencoderConfig, ReconstructionConfig, VQGANConfig
from faceref.training.stages.stage import Batch, Losses, Stage

CALIBRATION_PHOTOGRAPHS = 256
CALIBRATION_BATCH = 16


def build_autoencoder(config: AutoencoderConfig) -> Autoencoder:
    """A freshly initialised autoencoder. Raises UsageError if its arguments do not fit."""
    kind: type[Autoencoder] = {"vq": VQModel, "pixel_unshuffle": PixelUnshuffleVQModel}[config.kind]
    return new_network(kind, config.arguments, "autoencoder")


def vq_model(autoencoder: Autoencoder) -> VQModel:
    """The convolutional part of an autoencoder: encoder, codebook and decoder."""
    return autoencoder.vq if isinstance(autoencoder, PixelUnshuffleVQModel) else autoencoder


class ReconstructionStage(Stage):
    """L1 + perceptual + codebook loss, and from `adversarial_from` on a patch discriminator with adaptive weight.

    ReF-LDM's identity loss may be added (ours; its weight is 0 by default): 1 - cos(R(x_hat), R(x)) of pictures that
    were moved alike, R the frozen recogniser.
    """

    all_turns = ("generator", "discriminator")

    def __init__(
        self,
        config: ReconstructionConfig,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
        **others: nn.Module | None,
    ):
        """`perceptual` gives the feature maps of the perceptual loss: a recogniser, a backbone, or None for none.

        recogniser: of the identity loss. `others` are networks that the loss needs, too, and nobody trains.
        """
        super().__init__()
        self.weights = config.weights
        self.discriminator = PatchDiscriminator(config.discriminator_channels)
        self.keep_frozen(perceptual=perceptual, recogniser=recogniser, **others)

    @property
    @abstractmethod
    def last_layer(self) -> Tensor:
        """The weight of the layer that makes the pictures, where the adversarial loss is weighed."""

    @abstractmethod
    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, H, W] that shall be `batch["hq"]`, and the codebook loss."""

    def turns(self, step: int) -> tuple[str, ...]:
        return self.all_turns if self.weights.discriminator_learns(step) else self.all_turns[:1]

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        hq, mask = batch["hq"], batch["mask"]
        if turn == "discriminator":
            with torch.no_grad():
                reconstruction = self.reconstruct(batch)[0]
            loss = hinge_discriminator_loss(
                self.discriminator(hq * mask), self.discriminator((reconstruction * mask).detach())
            )
            return loss, {"discriminator": loss.detach()}
        reconstruction, codebook = self.reconstruct(batch)
        l1 = masked_mean((reconstruction - hq).abs(), mask)
        perceptual = self._perceptual(reconstruction * mask, hq * mask)
        loss = self.weights.l1 * l1 + self.weights.perceptual * perceptual
        if self.weights.coarse > 0:
            loss = loss + self.weights.coarse * F.avg_pool2d((reconstruction - hq) * mask, 2).abs().mean()
        numbers = {"l1": l1.detach(), "perceptual": perceptual.detach(), "codebook": codebook.detach()}
        if step >= self.weights.adversarial_from:
            adversarial = adversarial_loss(self.discriminator(reconstruction * mask))
            numbers["adversarial"] = adversarial.detach()
            if self.weights.adaptive:
                numbers["adversarial_weight"] = adaptive_weight(loss, adversarial, self.last_layer)
                adversarial = numbers["adversarial_weight"] * adversarial
            loss = loss + self.weights.adversarial * adversarial
        if self.recogniser is not None and self.weights.identity > 0:
            identity = (1 - identity_similarity(self.recogniser, reconstruction, hq, mask, generator)).mean()
            loss = loss + self.weights.identity * identity
            numbers["identity"] = identity.detach()
        return loss + self.weights.codebook * codebook, numbers

    def _perceptual(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        network = self.frozen["perceptual"]
        if network is None:
            return reconstruction.new_zeros(())
        return perceptual_distance(network, reconstruction, target).mean()


class VQGANStage(ReconstructionStage):
    """Photographs are to be decoded to themselves."""

    def __init__(
        self,
        config: VQGANConfig,
        vae: Autoencoder,
        photographs: DecodedPhotographs,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
    ):
        """some of `photographs` calibrate latents (normalisation on export, the codebook)."""
        super().__init__(config, perceptual, recogniser)
        self.vae = vae
        self.photographs = photographs
        if config.quantize_from and not self._has_codebook():
            raise UsageError(
                "quantize_from is for an autoencoder with a codebook", hint="set quantize: true or leave it out"
            )
        self.quantize_from = config.quantize_from
        self.register_buffer("quantized", torch.tensor(config.quantize_from == 0))  # a part of checkpoints
        self.quantized: Tensor

    @classmethod
    def build(cls, config: VQGANConfig, faces: FaceDataset) -> Self:
        if config.initial:
            autoencoder = load_component(config.initial, AUTOENCODERS, "vae")
        else:
            autoencoder = build_autoencoder(config.autoencoder)
        return cls(config, autoencoder, faces.photographs, *judges(config))

    @property
    def last_layer(self) -> Tensor:
        return vq_model(self.vae).decoder.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.discriminator if turn == "discriminator" else self.vae: 1.0}

    def averaged(self) -> nn.Module:
        return self.vae

    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """uint8 photographs -> {hq [B, 3, H, W] in [-1, 1], mask [B, 1, H, W]}, half of them mirrored."""
        hq = items["hq"].float() / 127.5 - 1
        mask = items["mask"].float() / 255
        flip = torch.rand(len(hq), 1, 1, 1, generator=generator, device=hq.device) < 0.5
        return {"hq": torch.where(flip, hq.flip(3), hq), "mask": torch.where(flip, mask.flip(3), mask)}

    def prepare(self, step: int) -> list[Tensor]:
        if self.quantized or step < self.quantize_from:
            return []
        self.quantized.fill_(True)
        codebook = vq_model(self.vae).quantize.embedding.weight
        if is_main():
            self._begin_codebook()
        take_from_main(codebook.data)
        return [codebook]

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        latents = encode(self.vae, batch["hq"])
        decoded = cast(DecoderOutput, self.vae.decode(latents, force_not_quantize=not self.quantized))
        if decoded.commit_loss is None:
            return decoded.sample, latents.new_zeros(())
        return decoded.sample, decoded.commit_loss.mean()

    @torch.no_grad()
    def _begin_codebook(self) -> None:
        """Codes that are used from the start: the k-means of latents. A random codebook keeps a few codes alive.

        With fewer latents than codes, as of small pictures, the last codes stay random.
        """
        import faiss

        batches = self._calibration().split(CALIBRATION_BATCH)
        latents = torch.cat([encode(self.vae, batch) for batch in batches]).permute(0, 2, 3, 1)  # [B, h, w, C]
        latents = latents.flatten(0, 2).float()  # [tokens, C]
        codebook = vq_model(self.vae).quantize.embedding.weight
        codes = min(len(codebook), len(latents))
        kmeans = faiss.Kmeans(latents.shape[1], codes, seed=0, min_points_per_centroid=1)  # or it warns
        kmeans.train(latents.cpu().numpy())
        codebook[:codes] = torch.from_numpy(kmeans.centroids)

    def _calibration(self) -> Tensor:
        """Some photographs [B, 3, H, W] in [-1, 1], the same each time."""
        whole = self.photographs.whole
        rows = np.linspace(0, len(whole) - 1, CALIBRATION_PHOTOGRAPHS).astype(int)
        return torch.from_numpy(self.photographs.take(whole[rows])[:, :3]).to(self.vae.device).float() / 127.5 - 1

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """PSNR (dB), SSIM and codes in use of held-out reconstructions; rows: photograph, reconstruction.

        Before `quantize_from` the numbers are called otherwise, since none after it is as high.
        """
        reconstruction = self.reconstruct(batch)[0].float().clamp(-1, 1)
        of = "" if self.quantized else "_unquantized"
        metrics = {
            f"psnr{of}": psnr(reconstruction, batch["hq"], batch["mask"]),
            f"ssim{of}": ssim(reconstruction, batch["hq"], batch["mask"]),
        }
        if self._has_codebook() and self.quantized:
            codes = self.vae.quantize(encode(self.vae, batch["hq"]))[2][2]
            metrics["codes"] = len(codes.unique())
        return metrics, contact_sheet([batch["hq"], reconstruction])

    def export(self, folder: Path) -> None:
        """Write the autoencoder in diffusers' format."""
        if isinstance(self.vae, PixelUnshuffleVQModel) and not self._has_codebook():
            self.vae.normalize_latents(self._calibration())
        elif not self.quantized:
            self._begin_codebook()
        self.vae.save_pretrained(folder)

    def _has_codebook(self) -> bool:
        return self.vae.config.get("quantize", True)
