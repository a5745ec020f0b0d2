"""The stage after a denoiser's: its restorations are corrected by the low-quality pictures that they were made of."""

from pathlib import Path
from typing import Any, Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import load_blind, load_pipeline, save_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import encode
from faceref.models.fusion import PixelFusion
from faceref.models.identity import FaceRecogniser
from faceref.models.loading import load_component
from faceref.models.reference import ReferenceCache
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.components import judges, new_network
from faceref.training.stages.configs import FusionConfig
from faceref.training.stages.stage import Batch
from faceref.training.stages.vqgan import ReconstructionStage


class FusionStage(ReconstructionStage):
    """Restorations by a trained model, corrected, are to be the HQ photographs; the model stays as it is."""

    best_by = "psnr_corrected"

    def __init__(
        self,
        config: FusionConfig,
        fusion: PixelFusion,
        pipeline: FacePipeline,
        info: ModelInfo,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
    ):
        """pipeline, info: the model, of either family; a fusion that it has already is left out."""
        pipeline.register_modules(fusion=None)
        networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
        super().__init__(config, perceptual, recogniser, **networks)
        self.config, self.pipeline, self.info = config, pipeline, info
        self.fusion = fusion
        self.blind = load_blind(config.model)

    @classmethod
    def build(cls, config: FusionConfig, faces: FaceDataset) -> Self:
        if config.initial and config.fusion:
            raise UsageError("The sizes in fusion are those of a new one", hint="leave them out, or leave out initial")
        if config.initial:
            fusion = load_component(config.initial, (PixelFusion,), "fusion")
        else:
            fusion = new_network(PixelFusion, config.fusion, "fusion")
        pipeline, info = load_pipeline(config.model)
        if isinstance(pipeline, ReFLDMPipeline) and pipeline.detail is not None:
            raise UsageError("draws with a decoder of its own", subject=config.model, hint="give a model without one")
        if info.resolution != config.data.resolution:
            raise UsageError(f"works at {info.resolution} px", subject=config.model, hint="set data.resolution to that")
        if info.resolution % fusion.config["patch_size"]:
            raise UsageError(f"fusion.patch_size must divide the resolution, {info.resolution}")
        return cls(config, fusion, pipeline, info, *judges(config))

    @property
    def last_layer(self) -> Tensor:
        return self.fusion.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.discriminator if turn == "discriminator" else self.fusion: 1.0}

    def averaged(self) -> nn.Module:
        return self.fusion

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to pictures, and restored [B, 3, H, W]: what the model makes of the bad ones.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], references [B, N, 3, H, W], has_references [B].
        """
        batch = self.degraded(items, self.config.data, generator)
        draws = torch.rand(len(batch["hq"]), generator=generator, device=batch["hq"].device)
        shown = batch["has_references"]
        shown = shown * (draws >= self.config.reference_dropout) if self.training else shown
        cache = self._cache(batch["references"], shown)
        restored = self.pipeline(batch["lq"], cache, generator=generator, output_type="raw").images
        return batch | {"restored": cast(Tensor, restored)}

    def _cache(self, references: Tensor, shown: Tensor) -> ReferenceCache | None:
        """Of the references [B, N, 3, H, W] where `shown` [B] is 1; None if the pipeline takes none."""
        count = references.shape[1]
        if not isinstance(self.pipeline, ReFLDMPipeline) or not count:
            return None
        latents = encode(self.pipeline.vae, references.flatten(0, 1)).unflatten(0, references.shape[:2])
        times = shown.float()[:, None].expand(-1, count)  # [B, N], 0 for those that are not shown
        identities = self.pipeline.identities(references.flatten(0, 1))
        told = None if identities is None else identities.unflatten(0, references.shape[:2])
        return self.pipeline.unet.encode_references(latents, times, told)

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.fusion(batch["restored"], batch["lq"]), batch["hq"].new_zeros(())

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces, with their references; rows: LQ, restored as before, corrected, truth."""
        pictures = {"lq": batch["lq"], "before": batch["restored"], "corrected": self.reconstruct(batch)[0].float()}
        metrics = compare(pictures, batch["hq"], batch["mask"], self.recogniser)
        return metrics, contact_sheet([*pictures.values(), batch["hq"]])

    def export(self, folder: Path) -> None:
        """The model with the fusion as its own, and nothing of what was measured of it without."""
        components: dict[str, Any] = self.pipeline.components | {"fusion": self.fusion}
        info = self.info.model_copy(update={"quality": {}, "quality_command": None})
        save_model(type(self.pipeline)(**components), info, folder, self.blind)
