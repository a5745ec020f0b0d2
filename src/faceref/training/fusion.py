"""The stage after a denoiser's: its restorations are corrected by the low-quality pictures that they were made of."""

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.store import ModelInfo, Pipeline, save_model
from faceref.data.dataset import make_batch
from faceref.models.fusion import PixelFusion
from faceref.models.identity import FaceRecogniser
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.config import FusionConfig
from faceref.training.losses import move_alike
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stage import Batch
from faceref.training.vqgan import ReconstructionStage


class FusionStage(ReconstructionStage):
    """The losses of a VQGAN, and weight * (1 - cos(R(x_hat), R(x))) so that sharpening does not cost the identity.

    x is the HQ photograph, x_hat the corrected restoration, R the frozen recogniser; both are moved alike before.
    """

    def __init__(
        self,
        config: FusionConfig,
        fusion: PixelFusion,
        restorer: tuple[Pipeline, ModelInfo],
        recogniser: FaceRecogniser | None,
        perceptual: nn.Module | None,
    ):
        super().__init__(config, perceptual)
        self.config = config
        self.fusion = fusion
        self.restorer, self.info = restorer
        self.restorer.register_modules(fusion=None)  # one that it has is replaced
        self.keep_frozen(perceptual, recogniser, *map(self.restorer.components.get, ("vq", "unet", "vae")))

    @property
    def recogniser(self) -> FaceRecogniser | None:
        return self.frozen[1]

    @property
    def last_layer(self) -> Tensor:
        return self.fusion.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.discriminator if turn == "discriminator" else self.fusion: 1.0}

    def averaged(self) -> nn.Module:
        return self.fusion

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """uint8 photographs -> {hq, lq, restored [B, 3, H, W] about [-1, 1], mask [B, 1, H, W]}."""
        data = self.config.data
        batch = cast(Batch, make_batch(items, data.degradation, generator, data.augmentation))
        draws = torch.rand(len(batch["hq"]), generator=generator, device=batch["hq"].device)
        shown = batch["has_references"].bool() & (draws >= self.config.reference_dropout)
        references = [photos if show else None for photos, show in zip(batch["references"], shown, strict=True)]
        given: dict[str, Any] = {}
        if isinstance(self.restorer, ReFLDMPipeline):
            given = {"references": references, "guidance": self.info.guidance}
        restored = self.restorer(
            batch["lq"],
            steps=self.info.steps,
            scheduler=self.info.scheduler,
            generator=generator,
            output_type="pt",
            **given,
        ).images
        return batch | {"restored": cast(Tensor, restored)}

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.fusion(batch["restored"], batch["lq"]), batch["hq"].new_zeros(())

    def further_losses(self, pictures: Tensor, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        if self.recogniser is None:
            return {}
        truth = batch["hq"]
        corrected, truth = move_alike(torch.where(batch["mask"] > 0, pictures, truth), truth, generator)
        with torch.no_grad():
            wanted = self.recogniser.embed(truth)
        similarity = F.cosine_similarity(self.recogniser.embed(corrected), wanted)
        return {"identity": self.config.identity * (1 - similarity).mean()}

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces; rows: LQ, restored as before, with this step, truth."""
        pictures = {"lq": batch["lq"], "before": batch["restored"], "restored": self.reconstruct(batch)[0].float()}
        metrics: dict[str, float] = {}
        for name, row in pictures.items():
            metrics |= compare(name, row, batch["hq"], self.recogniser)
        return metrics, contact_sheet([row[:8] for row in (*pictures.values(), batch["hq"])])

    def export(self, folder: Path) -> None:
        """Write the whole model, with this step."""
        components: dict[str, Any] = self.restorer.components | {"fusion": self.fusion}
        save_model(type(self.restorer)(**components), self.info, folder)
