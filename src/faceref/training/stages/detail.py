"""The stage after a denoiser's: its latents drawn larger than its own decoder can, softly first, then crisply."""

import copy
from pathlib import Path
from typing import Self, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.store import ModelInfo, load_pipeline
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import decode
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.identity import FaceRecogniser
from faceref.models.loading import load_component
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.stages.components import judges, new_network
from faceref.training.stages.configs import DetailConfig
from faceref.training.stages.last_step import LastStepStage
from faceref.training.stages.stage import Batch


class DetailStage(LastStepStage):
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
        decoder = cast(DetailDecoder, pipeline.components["crisp_detail" if config.crisp else "detail"])
        super().__init__(config, decoder, pipeline, info, perceptual, recogniser)
        self.decoder = decoder

    @classmethod
    def build(cls, config: DetailConfig, faces: FaceDataset) -> Self:
        pipeline, info = load_pipeline(config.model)
        if not isinstance(pipeline, ReFLDMPipeline):
            raise UsageError("is of the family ldbfr", subject=config.model, hint="give a model of the family refldm")
        decoder = _begun(config, pipeline)
        side = pipeline.unet.config["sample_size"] * decoder.config["patch_size"]
        if config.data.resolution != side:
            raise UsageError(f"The decoder draws {side} px", hint=f"set data.resolution to {side}")
        info = info.model_copy(update={"resolution": side, "crisp": 1.0 if config.crisp else None})
        return cls(config, pipeline, info, *judges(config))

    @property
    def drawer(self) -> DetailDecoder:
        return self.decoder

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """As `degraded`, and latents [B, C, h, w]: what the model makes of the bad ones."""
        batch, shown = self.degraded(items, generator)
        latents = self.pipeline(
            batch["lq"],
            [photographs if one else None for photographs, one in zip(batch["references"], shown, strict=True)],
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
        return self.judged(pictures, batch["hq"])

    def export(self, folder: Path) -> None:
        self.export_with(folder)


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
