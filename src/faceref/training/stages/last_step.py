"""What the stages after a denoiser's share: of a trained model only the network that draws its faces is trained."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import Pipeline, save_model
from faceref.data.dataset import make_batch
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.fusion import PixelFusion
from faceref.models.identity import FaceRecogniser
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.configs import DetailConfig, FusionConfig
from faceref.training.stages.stage import Batch
from faceref.training.stages.vqgan import ReconstructionStage


class LastStepStage(ReconstructionStage):
    """What a model restores of bad photographs, drawn by the network that is trained, is to be the good photographs."""

    config: FusionConfig | DetailConfig

    def __init__(
        self,
        config: FusionConfig | DetailConfig,
        trained: PixelFusion | DetailDecoder,
        pipeline: Pipeline,
        info: ModelInfo,
        perceptual: nn.Module | None,
        recogniser: FaceRecogniser | None,
    ):
        """pipeline, info: the model; `trained` may be one of its networks, and all others are frozen."""
        networks = {
            name: part
            for name, part in pipeline.components.items()
            if isinstance(part, nn.Module) and part is not trained
        }
        super().__init__(config, perceptual, recogniser, **networks)
        self.config, self.pipeline, self.info = config, pipeline, info

    @property
    @abstractmethod
    def drawer(self) -> PixelFusion | DetailDecoder:
        """The network that is trained."""

    @property
    def last_layer(self) -> Tensor:
        return self.drawer.conv_out.weight

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        return {self.discriminator if turn == "discriminator" else self.drawer: 1.0}

    def averaged(self) -> nn.Module:
        return self.drawer

    @torch.no_grad()
    def degraded(self, items: Batch, generator: torch.Generator) -> tuple[Batch, Tensor]:
        """Photographs to pictures, good and bad, and whose references [B] the model is to be shown.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], references [B, N, 3, H, W], has_references [B].
        """
        data = self.config.data
        batch = cast(Batch, make_batch(items, data.degradation, generator, data.augmentation))
        draws = torch.rand(len(batch["hq"]), generator=generator, device=batch["hq"].device)
        shown = batch["has_references"]
        return batch, shown * (draws >= self.config.reference_dropout) if self.training else shown

    def judged(self, pictures: dict[str, Tensor], truth: Tensor) -> tuple[dict[str, float], Image.Image]:
        """Metrics of each of the pictures [B, 3, H, W], and a sheet of all with the truth below."""
        metrics: dict[str, float] = {}
        for name, row in pictures.items():
            metrics |= compare(name, row, truth, self.recogniser)
        return metrics, contact_sheet([row[:8] for row in (*pictures.values(), truth)])

    def export_with(self, folder: Path, blind: tuple[Pipeline, ModelInfo] | None = None, **networks: nn.Module) -> None:
        """Write the model with these networks of its own, and nothing of what was measured of it without.

        blind: what it brings for photographs without references.
        """
        components: dict[str, Any] = self.pipeline.components | networks
        info = self.info.model_copy(update={"quality": {}, "quality_command": None})
        save_model(type(self.pipeline)(**components), info, folder, blind)
