"""The last stages of `small`: its decoder, shown the references' texture, learns to draw photographs (ours)."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from faceref.models.autoencoder import decode
from faceref.models.detail_decoder import crispness_by_place, enlarged, mouth_of
from faceref.models.texture import find_texture, remember_texture
from faceref.training.discriminators import PartDiscriminator, UNetDiscriminator
from faceref.training.losses import perceptual_distance
from faceref.training.pictures import compare, contact_sheet, median_sharpness
from faceref.training.stages.components import judges
from faceref.training.stages.configs import CrispConfig
from faceref.training.stages.drawing import DrawingStage
from faceref.training.stages.stage import Batch, Losses
from faceref.training.views import View, mean_by_share, place_of


class CrispStage(DrawingStage):
    """A decoder learns to draw as crisply as it is told, while the denoiser stays as it is, or learns with it.

    At crispness 0 the losses are those that all drawing has; at 1 the perceptual and the adversarial one and feature
    matching are added, in proportion between, also from place to place: mouths are drawn less crisply than the rest by
    any share, since pipelines do that. The discriminator sees crisp drawings, and photographs that are examples of
    detail; others see their eyes and mouths alone (`parts`).
    """

    all_turns = ("generator", "discriminator")
    best_by = "identity_crisp"
    textured = True

    def __init__(self, config: CrispConfig, *parts: Any, **judges: nn.Module | None):
        """parts, judges: as of `DrawingStage`."""
        self.unet_share = config.unet_share
        super().__init__(config, *parts, **judges)
        self.weights, self.latent = config.weights, config.latent
        self.seed, self.judged, self.matching = config.loop.seed, config.judged, config.matching
        self.discriminator = UNetDiscriminator(config.discriminator_channels)
        self.parts, self.parts_weights = nn.ModuleDict(), dict(config.parts)
        for part in config.parts:
            rows, columns = place_of(part, config.data.resolution)
            self.parts[part] = PartDiscriminator(rows.stop - rows.start, columns.stop - columns.start)
        self.info = self.info.model_copy(update={"crisp": config.crisp})

    @classmethod
    def judges(cls, config: CrispConfig) -> dict[str, nn.Module | None]:
        return dict(zip(("perceptual", "recogniser"), judges(config), strict=True))

    def networks_to_train(self) -> dict[str, nn.Module]:
        networks: dict[str, nn.Module] = {"detail": self.detail}
        return networks | {"unet": self.unet} if self.unet_share else networks

    def turns(self, step: int) -> tuple[str, ...]:
        return self.all_turns if self.weights.discriminator_learns(step) else self.all_turns[:1]

    def trainable(self, turn: str) -> dict[nn.Module, float]:
        if turn == "discriminator":
            return dict.fromkeys([self.discriminator, *self.parts.values()], 1.0)
        shares = {"detail": 1.0, "unet": self.unet_share}
        return {network: shares[name] for name, network in self.networks_to_train().items()}

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to what the decoder is given; where the denoiser learns, what `DrawingStage` makes of them.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], coarse [B], and what `_restore` makes.
        """
        batch = super().make_batch(items, generator)
        if self.unet_share:
            return batch
        return {name: batch[name] for name in ("hq", "lq", "mask", "coarse")} | self._restore(batch)

    def _restore(self, batch: Batch) -> Batch:
        """Denoised latents [B, C, h, w], decoded [B, 3, H / 2, W / 2], and texture [B, TEXTURE_CHANNELS, H, W]."""
        latents = self.denoise(batch, batch["counts"])
        decoded = decode(self.pipeline.vae, latents).float()
        with torch.no_grad():
            memory = remember_texture(batch["references"])
            texture = find_texture(enlarged(decoded, batch["lq"]), *memory, batch["counts"])
        return {"latents": latents.float(), "decoded": decoded, "texture": texture}

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        generates = turn == "generator"
        for judge in (self.discriminator, self.parts):
            judge.requires_grad_(not generates)
        if generates or "drawn" not in batch:  # where processes train together, the other turn's batch was a copy
            with torch.set_grad_enabled(generates):
                if self.unet_share:
                    batch |= self._restore(batch)
                self._draw_each(batch, generator)
        real, drawn = (batch[name] * batch["mask"] for name in ("hq", "drawn"))
        shares = batch["crisp"] * ~batch["coarse"].view(-1, 1, 1, 1)
        views = self._views(real, step)
        if not generates:
            crisp = slice(len(real) // 2, None)
            losses, numbers = zip(
                *(view.tell_apart(real[crisp], drawn[crisp].detach(), shares[crisp]) for view in views), strict=True
            )
            return torch.stack(losses).sum(), functools.reduce(operator.or_, numbers)
        loss, numbers = self._likeness(batch["drawn"], batch, generator)
        if self.unet_share:
            latent = self._latent_distance(batch["latents"], batch)
            loss, numbers = loss + self.latent * latent, numbers | {"latent": latent.detach()}
        judged = slice(len(real) // 4, None)  # all but those drawn softly
        for name, (weight, mean) in self._judge(drawn[judged], real[judged], shares[judged], views, step).items():
            loss, numbers = loss + weight * mean, numbers | {name: mean.detach()}
        return loss, numbers

    def _judge(
        self, drawn: Tensor, real: Tensor, shares: Tensor, views: Sequence[View], step: int
    ) -> dict[str, tuple[float, Tensor]]:
        """What makes a drawing a photograph: losses by name, with their weights."""
        losses: dict[str, tuple[float, Tensor]] = {}
        if (network := self.frozen["perceptual"]) is not None:
            square = views[0]
            distances = perceptual_distance(network, square.of(drawn), square.of(real)).view(-1, 1, 1, 1)
            losses["perceptual"] = (self.weights.perceptual, mean_by_share(distances, square.of(shares)))
        if step >= self.weights.adversarial_from:
            for view in views:
                matching, adversarial = view.judge(drawn, real, shares)
                losses[f"matching{view.suffix}"] = (view.weight * self.matching, matching)
                losses[f"adversarial{view.suffix}"] = (view.weight * self.weights.adversarial, adversarial)
        return losses

    def _draw_each(self, batch: Batch, generator: torch.Generator) -> None:
        """Draw a quarter of the faces softly, then one with any crispness, and half of them crisply; mouths less.

        The batch is told: drawn [B, 3, H, W], crisp [B, 1, H, W].
        """
        hq = batch["hq"]
        draws, less = torch.rand(2, len(hq), generator=generator, device=generator.device).to(hq.device)
        quarters = 4 * (torch.arange(len(hq), device=hq.device) + draws) / len(hq)  # 0..4, rising
        by_place = 1 - less.view(-1, 1, 1, 1) * mouth_of(*hq.shape[-2:]).to(hq)
        batch["crisp"] = (quarters - 1).clamp(0, 1).view(-1, 1, 1, 1) * by_place
        seen = (batch[name] for name in ("latents", "decoded", "lq", "texture", "crisp"))
        batch["drawn"] = self.detail(*seen).float()

    def _views(self, pictures: Tensor, step: int) -> list[View]:
        """Who sees what in this step, in both turns and in all processes the same: a square somewhere, then parts."""
        side = pictures.shape[-1]
        top, left = np.random.default_rng([self.seed, step]).integers(0, max(0, side - self.judged) + 1, 2)
        square = slice(top, top + self.judged), slice(left, left + self.judged)
        weights = self.parts_weights.items()
        parts = [View(f"_{part}", self.parts[part], place_of(part, side), weight) for part, weight in weights]
        return [View("", self.discriminator, square, 1.0), *parts]

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Held-out faces, as the pipeline draws them; rows: LQ, softly, crisply, crisply without texture, truth.

        Sharpness is the median of this process's share, to the median of its truths.
        """
        batch = batch | self._restore(batch) if self.unet_share else batch
        seen, texture = (batch["decoded"], batch["latents"], batch["lq"]), batch["texture"]
        crisp = crispness_by_place(*texture.shape[-2:]).to(texture).expand_as(texture[:, :1])
        pictures = {
            "lq": batch["lq"],
            "soft": self.pipeline.correct(*seen, texture, 0 * crisp),
            "crisp": self.pipeline.correct(*seen, texture, crisp),
            "untextured": self.pipeline.correct(*seen, 0 * texture, crisp),
        }
        metrics: dict[str, float] = {}
        for name, row in pictures.items():
            metrics |= compare({name: row}, batch["hq"], batch["mask"], self.recogniser)
            metrics[f"sharpness_{name}"] = median_sharpness(row) / median_sharpness(batch["hq"])
        return metrics, contact_sheet([*pictures.values(), batch["hq"]])
