"""Denoiser and decoder of `small` together, on what they draw (ours)."""

from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.models.autoencoder import decode
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.configs import EndToEndConfig
from faceref.training.stages.drawing import DrawingStage
from faceref.training.stages.stage import Batch, Losses


class EndToEndStage(DrawingStage):
    """The denoiser learns from the pictures that are drawn of its latents, with the decoder."""

    best_by = "identity_drawn"
    textured = False

    def __init__(self, config: EndToEndConfig, *parts: Any, **judges: nn.Module | None):
        """parts, judges: as of `DrawingStage`."""
        super().__init__(config, *parts, **judges)
        self.latent, self.unet_share = config.latent, config.unet_share

    def networks_to_train(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "detail": self.detail}

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.unet: self.unet_share, self.detail: 1.0}

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        latents = self.denoise(batch, batch["counts"])
        loss, numbers = self._likeness(self._draw(latents, batch), batch, generator)
        return loss + self.latent * self._latent_distance(latents, batch), numbers

    def _draw(self, latents: Tensor, batch: Batch) -> Tensor:
        return self.detail(latents, decode(self.pipeline.vae, latents), batch["lq"]).float()

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces; rows: LQ, drawn without references and with, truth, first reference."""
        alone, shown = (self.denoise(batch, counts) for counts in (0 * batch["counts"], batch["counts"]))
        pictures = {"lq": batch["lq"], "alone": self._draw(alone, batch), "drawn": self._draw(shown, batch)}
        metrics = compare(pictures, batch["hq"], batch["mask"], self.recogniser)
        rows = [*pictures.values(), batch["hq"], *batch["references"][:, :1].unbind(1)]
        return metrics, contact_sheet(rows)
