"""What the stages have in common that train the decoder of `small` on what it draws (ours)."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor, nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import load_blind, load_pipeline, save_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import encode
from faceref.models.detail_decoder import DetailDecoder, shrink
from faceref.models.loading import load_component
from faceref.models.low_rank import hold_to_rank, merged
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.losses import identity_similarity, masked_mean
from faceref.training.stages.components import (
    identity_encoder_of,
    needed_for_identity,
    new_network,
    recogniser_of,
)
from faceref.training.stages.configs import DrawingConfig
from faceref.training.stages.stage import Batch, Losses, Stage

INTERFACE = ("in_channels", "out_channels", "sample_size", "identity_size")  # of a denoiser that takes another's place


class DrawingStage(Stage):
    """A denoiser that makes its latents in one step, and the decoder that draws them larger.

    Photographs that are no example of detail (`coarse`) are compared at half the size, and by the recogniser.
    """

    textured: bool  # whether the decoder is shown the references' texture

    def __init__(
        self,
        config: DrawingConfig,
        pipeline: ReFLDMPipeline,
        info: ModelInfo,
        **judges: nn.Module | None,
    ):
        """pipeline, info: the model with the decoder that is trained. judges: see the method of that name."""
        super().__init__()
        self.weights, self.data, self.reference_dropout = config.weights, config.data, config.reference_dropout
        self.pipeline, self.info = pipeline, info
        if judges.get("recogniser") is None:
            self.best_by = self.best_by.replace("identity_", "psnr_")
        self.trained = nn.ModuleDict(self.networks_to_train())
        parts = {"vae": pipeline.vae, "unet": pipeline.unet, "identity_encoder": pipeline.identity_encoder}
        self.keep_frozen(**judges, **{name: part for name, part in parts.items() if name not in self.trained})
        self.trained.requires_grad_(True)
        if (low_rank := config.low_rank) is not None:
            of = load_pipeline(low_rank.of)[0].components
            for name, network in self.trained.items():
                hold_to_rank(network, of.get(name), low_rank.rank)
        self.blind = load_blind(config.model)

    @classmethod
    def build(cls, config: DrawingConfig, faces: FaceDataset) -> Self:
        pipeline, info = load_pipeline(config.model)
        if not isinstance(pipeline, ReFLDMPipeline) or pipeline.vq is not None:
            raise UsageError("has another denoiser", subject=config.model, hint="give a plain model of family refldm")
        if pipeline.scheduler.config["prediction_type"] != "sample":
            raise UsageError("does not predict the clean latent", subject=config.model, hint="give one that does")
        if config.unet is not None:
            unet = load_component(config.unet, (ReferenceUNet,), "unet")
            if any(unet.config[name] != pipeline.unet.config[name] for name in INTERFACE):
                raise UsageError(
                    "has other latents than the model's own denoiser, or is told of other identities",
                    subject=config.unet,
                    hint="give one that was trained from it",
                )
            told_by = identity_encoder_of(unet, config.unet, pipeline.identity_encoder)
            pipeline.register_modules(unet=unet, identity_encoder=told_by)
        new = bool(config.detail) or pipeline.detail is None
        detail = new_network(DetailDecoder, config.detail, "decoder") if new else cast(DetailDecoder, pipeline.detail)
        if detail.config["textured"] != cls.textured:
            raise UsageError(
                f"The decoder is shown {'no ' if cls.textured else ''}texture, unlike any of the stage {config.stage}",
                hint=f"set detail to a new one with textured: {str(cls.textured).lower()}",
            )
        # one step from the last timestep, whatever the model took; the decoder learns of latents without the noise of
        # the first one, where ReF-LDM's sampling ends
        before = pipeline.scheduler.config
        scheduler = DDIMScheduler.from_config(before, set_alpha_to_one=True, timestep_spacing="trailing")
        pipeline.register_modules(detail=detail, fusion=None, scheduler=scheduler)
        side = pipeline.unet.config["sample_size"] * detail.config["patch_size"]
        if config.data.resolution != side:
            raise UsageError(f"The decoder draws {side} px", hint=f"set data.resolution to {side}")
        learnt = {"resolution": side, "crisp": None, "steps": 1, "guidance": 1.0, "scheduler": "ddim"}
        return cls(config, pipeline, info.model_copy(update=learnt), **cls.judges(config))

    @classmethod
    def judges(cls, config: Any) -> dict[str, nn.Module | None]:
        """The networks of the losses, by name."""
        return {"recogniser": recogniser_of(config, needed_for_identity(config.weights))}

    @abstractmethod
    def networks_to_train(self) -> dict[str, nn.Module]:
        """The parts of the pipeline that are trained, by their names; the others stay as they are."""

    @property
    def unet(self) -> ReferenceUNet:
        return self.pipeline.unet

    @property
    def detail(self) -> DetailDecoder:
        return cast(DetailDecoder, self.pipeline.detail)

    def averaged(self) -> nn.Module:
        return self.trained

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """Photographs to pictures and latents.

        hq, lq [B, 3, H, W], mask [B, 1, H, W], coarse [B], references [B, N, 3, H, W], counts [B, N]: which of them
        are shown; latents of the autoencoder: lq_latent, hq_latent [B, C, h, w], reference_latents [B, N, C, h, w];
        noise [B, C, h, w]; identities [B, N, D] for a denoiser that is told them.
        """
        batch = self.degraded(items, self.data, generator)
        factor = self.detail.config["enlargement"]
        vae = self.pipeline.vae
        batch["lq_latent"] = encode(vae, shrink(batch["lq"], factor)).float()
        batch["hq_latent"] = encode(vae, shrink(batch["hq"], factor)).float()
        references = batch["references"]
        latents = encode(vae, shrink(references.flatten(0, 1), factor)).float()
        batch["reference_latents"] = latents.unflatten(0, references.shape[:2])
        if (identities := self.pipeline.identities(references.flatten(0, 1))) is not None:
            batch["identities"] = identities.float().unflatten(0, references.shape[:2])
        batch["counts"] = self._counts(batch["has_references"], references.shape[1], generator)
        batch["noise"] = torch.randn(batch["lq_latent"].shape, generator=generator, device=references.device)
        return batch

    def _counts(self, has_references: Tensor, references: int, generator: torch.Generator) -> Tensor:
        """1 for a reference that is shown, 0 for others: [B, N]; in training, any number of them, or none."""
        counts = has_references.float()[:, None].expand(-1, references)
        if not self.training:
            return counts
        draws = torch.rand(2, len(counts), generator=generator, device=generator.device).to(counts.device)
        shown = (1 + (draws[0] * references).floor()) * (draws[1] >= self.reference_dropout)
        return counts * (torch.arange(references, device=counts.device) < shown[:, None])

    def denoise(self, batch: Batch, counts: Tensor) -> Tensor:
        """x0 [B, C, h, w] in one step from noise, references being shown as `counts` [B, N] says."""
        latents, told = batch["reference_latents"], batch.get("identities")
        cache = self.unet.encode_references(latents, counts, told) if counts.shape[1] else None
        last = self.pipeline.scheduler.config.num_train_timesteps - 1
        return self.unet(torch.cat([batch["noise"], batch["lq_latent"]], dim=1), last, cache).sample

    def _latent_distance(self, latents: Tensor, batch: Batch) -> Tensor:
        """Mean squared distance of x0 [B, C, h, w] to the truth's latents, inside the photographs."""
        mask = shrink(batch["mask"], self.detail.config["patch_size"])
        return masked_mean((latents.float() - batch["hq_latent"]).square(), mask)

    def _likeness(self, drawn: Tensor, batch: Batch, generator: torch.Generator) -> Losses:
        """L1, at half the size as well, and identity, of pictures [B, 3, H, W]."""
        hq, mask = batch["hq"], batch["mask"]
        difference = drawn - hq
        l1 = masked_mean(difference.abs(), mask * ~batch["coarse"].view(-1, 1, 1, 1))
        half = masked_mean(F.avg_pool2d(difference, 2).abs(), -F.max_pool2d(-mask, 2))
        loss = self.weights.l1 * l1 + self.weights.coarse * half
        numbers = {"l1": l1.detach(), "half": half.detach()}
        if self.recogniser is not None and self.weights.identity > 0:
            identity = (1 - identity_similarity(self.recogniser, drawn, hq, mask, generator)).mean()
            loss = loss + self.weights.identity * identity
            numbers["identity"] = identity.detach()
        return loss, numbers

    def export(self, folder: Path) -> None:
        info = self.info.model_copy(update={"quality": {}, "quality_command": None})
        save_model(merged(self.pipeline), info, folder, self.blind)
