"""The stage after a denoiser's: its latents drawn larger than its own decoder can, softly first, then crisply."""

import copy
from pathlib import Path
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.store import ModelInfo, load_pipeline, save_model
from faceref.data.dataset import FaceDataset, make_batch
from faceref.errors import UsageError
from faceref.models.autoencoder import decode
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.identity import FaceRecogniser
from faceref.models.loading import load_component
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.components import judges, new_network
from faceref.training.stages.configs import DetailConfig
from faceref.training.stages.stage import Batch
from faceref.training.stages.vqgan import ReconstructionStage


class DetailStage(ReconstructionStage):
    """What a model restores of bad photographs is to be drawn as the good ones; all else of the model stays.

    A crisp decoder begins as the model's soft one, so that there is every degree between the two.
    """

    def __init__(
        self,
        config: DetailConfig,
        pipeline: ReFLDMPipeline,
        info: ModelInfo,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None = None,
    ):
        """pipeline, info: the model with the decoder that is trained: `crisp_detail`, or `detail`."""
        trained = "crisp_detail" if config.crisp else "detail"
        networks = {
            name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module) and name != trained
        }
        super().__init__(config, perceptual, recogniser, **networks)
        self.config = config
        self.decoder = cast(DetailDecoder, pipeline.components[trained])
        self.pipeline, self.info = pipeline, info

    @classmethod
    def build(cls, config: DetailConfig, faces: FaceDataset) -> Self:
        pipeline, info = load_pipeline(config.model)
        if not isinstance(pipeline, ReFLDMPipeline):
            raise UsageError("is of the family ldbfr", subject=config.model, hint="give a model of the family refldm")
        decoder = _begun(config, pipeline)
        side = pipeline.unet.config["sample_size"] * decoder.config["patch_size"]
        if config.data.resolution != side:
            raise UsageError(f"The decoder draws {side} px", hint=f"set data.resolution to {side}")
        return cls(config, pipeline, info.model_copy(update={"resolution": side}), *judges(config))

    @property
    def last_layer(self) -> Tensor:
        return self.decoder.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.discriminator if turn == "discriminator" else self.decoder: 1.0}

    def averaged(self) -> nn.Module:
        return self.decoder

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to pictures, and what the model makes of the bad ones.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], latents [B, C, h, w], references [B, N, 3, H, W], has_references [B].
        """
        data = self.config.data
        batch = cast(Batch, make_batch(items, data.degradation, generator, data.augmentation))
        draws = torch.rand(len(batch["hq"]), generator=generator, device=batch["hq"].device)
        shown = batch["has_references"]
        if self.training:
            shown = shown * (draws >= self.config.reference_dropout)
        latents = self.pipeline(
            batch["lq"],
            [photographs if one else None for photographs, one in zip(batch["references"], shown, strict=True)],
            steps=self.info.steps,
            guidance=self.info.guidance,
            scheduler=self.info.scheduler,
            generator=generator,
            output_type="latent",
        ).images
        return batch | {"latents": cast(Tensor, latents)}

    def reconstruct(self, batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            decoded = decode(self.pipeline.vae, batch["latents"])
        return self.decoder(batch["latents"], decoded, batch["lq"]), batch["hq"].new_zeros(())

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces, with their references; rows: LQ, decoded and enlarged, drawn, truth."""
        decoded = decode(self.pipeline.vae, batch["latents"]).float()
        pictures = {
            "lq": batch["lq"],
            "decoded": F.interpolate(decoded, size=batch["lq"].shape[-2:], mode="bicubic"),
            "drawn": self.reconstruct(batch)[0].float(),
        }
        metrics: dict[str, float] = {}
        for name, row in pictures.items():
            metrics |= compare(name, row, batch["hq"], self.recogniser)
        return metrics, contact_sheet([row[:8] for row in (*pictures.values(), batch["hq"])])

    def export(self, folder: Path) -> None:
        """Write the model with its decoder, and nothing of what was measured of it without."""
        components: dict[str, Any] = self.pipeline.components
        info = self.info.model_copy(update={"quality": {}, "quality_command": None})
        save_model(ReFLDMPipeline(**components), info, folder)


def _begun(config: DetailConfig, pipeline: ReFLDMPipeline) -> DetailDecoder:
    """The decoder that is trained, in its place in the model."""
    decoder = _first_weights(config, pipeline)
    if config.crisp:
        pipeline.register_modules(crisp_detail=decoder)
    else:
        pipeline.register_modules(detail=decoder, crisp_detail=None, fusion=None)
    return decoder


def _first_weights(config: DetailConfig, pipeline: ReFLDMPipeline) -> DetailDecoder:
    if config.crisp and pipeline.detail is None:
        raise UsageError("has no decoder to begin from", subject=config.model, hint="train it first, without crisp")
    if config.initial:
        return load_component(config.initial, (DetailDecoder,), "crisp_detail" if config.crisp else "detail")
    if config.crisp:
        return cast(DetailDecoder, copy.deepcopy(pipeline.detail))
    return new_network(DetailDecoder, config.detail, "decoder")
