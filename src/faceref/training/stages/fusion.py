"""The stage after a denoiser's: its restorations are corrected by the low-quality pictures that they were made of."""

from pathlib import Path
from typing import Self, cast

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import Pipeline, load_blind, load_pipeline
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import encode
from faceref.models.fusion import PixelFusion
from faceref.models.identity import FaceRecogniser
from faceref.models.loading import load_component
from faceref.models.reference import ReferenceCache
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.stages.components import judges, new_network
from faceref.training.stages.configs import FusionConfig
from faceref.training.stages.last_step import LastStepStage
from faceref.training.stages.stage import Batch


class FusionStage(LastStepStage):
    """Restorations by a trained model, corrected, are to be the HQ photographs; the model stays as it is."""

    best_by = "psnr_corrected"

    def __init__(
        self,
        config: FusionConfig,
        fusion: PixelFusion,
        pipeline: Pipeline,
        info: ModelInfo,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
    ):
        """pipeline, info: the model, of either family; a fusion that it has already is left out."""
        pipeline.register_modules(fusion=None)
        super().__init__(config, fusion, pipeline, info, perceptual, recogniser)
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
        if info.resolution != config.data.resolution:
            raise UsageError(f"works at {info.resolution} px", subject=config.model, hint="set data.resolution to that")
        if info.resolution % fusion.config["patch_size"]:
            raise UsageError(f"fusion.patch_size must divide the resolution, {info.resolution}")
        return cls(config, fusion, pipeline, info, *judges(config))

    @property
    def drawer(self) -> PixelFusion:
        return self.fusion

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """As `degraded`, and restored [B, 3, H, W]: what the model makes of the bad ones."""
        batch, shown = self.degraded(items, generator)
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
        return self.pipeline.unet.encode_references(latents, times)

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.fusion(batch["restored"], batch["lq"]), batch["hq"].new_zeros(())

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces, with their references; rows: LQ, restored as before, corrected, truth."""
        pictures = {"lq": batch["lq"], "before": batch["restored"], "corrected": self.reconstruct(batch)[0].float()}
        return self.judged(pictures, batch["hq"])

    def export(self, folder: Path) -> None:
        self.export_with(folder, self.blind, fusion=self.fusion)
