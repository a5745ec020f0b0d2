"""ReF-LDM's stages 2 and 3: the denoiser, first with the LQ latent only (ldm), then with references (refldm)."""

from typing import Self

import torch
from PIL import Image
from torch import Tensor

from faceref.checkpoints.info import find_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.autoencoder import Autoencoder, decode, encode
from faceref.models.identity import FaceRecogniser
from faceref.models.identity_encoder import IdentityEncoder
from faceref.models.ldbfr import InjectedReferenceUNet, RestoringVQModel
from faceref.models.loading import load_component
from faceref.models.low_rank import hold_to_rank
from faceref.models.mechanisms import REFERENCE_UNETS, with_injections, with_mechanism
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.losses import identity_scale, identity_similarity, masked_mean
from faceref.training.pictures import compare, contact_sheet
from faceref.training.stages.components import (
    autoencoder_of,
    check_features,
    identity_encoder_of,
    new_unet,
    recogniser_of,
)
from faceref.training.stages.configs import DiffusionConfig
from faceref.training.stages.denoising import DenoisingStage
from faceref.training.stages.stage import Batch, Losses


class DiffusionStage(DenoisingStage):
    """L_diffusion + weight * scale(t) * (1 - cos(R(D(x0_hat)), R(D(x0)))) (ReF-LDM, Eq. 2 and 3).

    x0 is the latent of the HQ photograph, x0_hat its one-step estimate from the network's output at t, D the frozen
    decoder (gradients flow through it), R the frozen recogniser. As in the released code, the identity to reach is that
    of the autoencoder's reconstruction. Outside the photograph (padding) R sees that reconstruction in both.
    """

    family = "refldm"

    def __init__(
        self,
        config: DiffusionConfig,
        unet: ReferenceUNet,
        vae: Autoencoder,
        recogniser: FaceRecogniser | None,
        restoring: RestoringVQModel | None = None,
        identity_encoder: IdentityEncoder | None = None,
    ):
        """`restoring` repairs the features for an `InjectedReferenceUNet`.

        identity_encoder: of a U-Net with an `identity_size`.
        """
        super().__init__(config, unet, vae, recogniser, restoring=restoring, identity_encoder=identity_encoder)
        self.config, self.identity = config, config.identity
        self.unet: ReferenceUNet = unet
        self.use_references = config.stage == "refldm"
        self.best_by = "psnr_referenced" if self.use_references else "psnr_alone"

    @classmethod
    def build(cls, config: DiffusionConfig, faces: FaceDataset) -> Self:
        has_identity = config.identity.scaling != "none" and config.identity.weight > 0
        recogniser = recogniser_of(config, "identity.weight" if has_identity else None)
        unet = (
            load_component(config.initial, REFERENCE_UNETS, "unet")
            if config.initial
            else new_unet(ReferenceUNet, config.unet)
        )
        unet = with_mechanism(unet, config.mechanism, config.data.references)
        restoring = None
        if config.restoring is not None:
            restoring = load_component(config.restoring, (RestoringVQModel,), "vq")
            size = config.data.resolution // restoring.downsampling
            unet = with_injections(unet, restoring.attention.q.in_channels, size)
            check_features(unet, restoring, config.restoring)
        elif isinstance(unet, InjectedReferenceUNet):
            raise UsageError(
                f"The U-Net in {config.initial} has features injected", hint="set restoring to what repairs them"
            )
        if (low_rank := config.low_rank) is not None:
            hold_to_rank(unet, load_component(find_model(low_rank.of), REFERENCE_UNETS, "unet"), low_rank.rank)
        encoder = identity_encoder_of(unet, config.initial)
        return cls(
            config,
            unet,
            autoencoder_of(unet, config.autoencoder, config.data.resolution),
            recogniser,
            restoring,
            encoder,
        )

    @property
    def restoring(self) -> RestoringVQModel | None:
        return self.frozen["restoring"]

    @torch.no_grad()
    def make_batch(self, items: Batch, generator: torch.Generator) -> Batch:
        """As `DenoisingStage.make_batch`, and lq_latent [B, C, h, w].

        Where the stage looks at references, their latents, too: reference_latents [B, N, C, h, w]; where the network
        is told whom they show, identities [B, N, D]; where features are injected, these: features [B, c, s, s].
        """
        batch = super().make_batch(items, generator)
        batch["lq_latent"] = encode(self.vae, batch["lq"]).float()
        if self.restoring is not None:
            batch["features"] = self.restoring.features(batch["lq"], self.unet.config["feature_size"]).float()
        if self.use_references:
            references = batch["references"]
            latents = encode(self.vae, references.flatten(0, 1)).float().unflatten(0, references.shape[:2])
            # a person without other photographs is trained as "no reference": zero latents
            batch["reference_latents"] = latents * batch["has_references"][:, None, None, None, None]
            if (encoder := self.frozen["identity_encoder"]) is not None:
                identities = encoder(references.flatten(0, 1)).float().unflatten(0, references.shape[:2])
                batch["identities"] = identities * batch["has_references"][:, None, None]
        return batch

    def forward(self, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        x0 = batch["hq_latent"]
        x_t, timesteps, target = self.add_noise(x0, generator)
        draws = torch.rand(2, len(x0), 1, 1, 1, generator=generator, device=x0.device)
        lq = batch["lq_latent"] * (draws[0] >= self.config.lq_dropout)
        cache = None
        if self.use_references:
            kept = draws[1] >= self.config.reference_dropout  # [B, 1, 1, 1]
            told = batch["identities"] * kept[..., 0] if "identities" in batch else None
            cache = self.unet.encode_references(batch["reference_latents"] * kept[:, None], identities=told)
        features = [] if self.restoring is None else [batch["features"]]
        output = self.unet(torch.cat([x_t, lq], dim=1), timesteps, cache, *features).sample.float()
        diffusion = masked_mean((output - target).square(), batch["mask_latent"])
        numbers = {"diffusion": diffusion.detach()}
        if self.identity.scaling == "none" or self.identity.weight == 0:
            return diffusion, numbers
        similarity = self._identity_similarity(self.estimate_x0(output, x_t, timesteps), x0, batch["mask"], generator)
        scale = identity_scale(self.alpha_bar(timesteps), timesteps, self.identity.scaling)
        identity = (scale * (1 - similarity)).mean()
        numbers |= {"identity": identity.detach(), "similarity": similarity.detach().mean()}
        return diffusion + self.identity.weight * identity, numbers

    def _identity_similarity(self, estimate: Tensor, x0: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Cosine [B] between the recogniser's embeddings of both latents, decoded; mask [B, 1, H, W], 0 in padding."""
        assert self.recogniser is not None
        with torch.no_grad():
            truth = decode(self.vae, x0)
        restored = decode(self.vae, estimate)
        jitter = generator if self.identity.jitter else None
        return identity_similarity(self.recogniser, restored, truth, mask, jitter)

    def pipeline(self) -> ReFLDMPipeline:
        told_by = self.frozen["identity_encoder"]
        pipeline = ReFLDMPipeline(self.unet, self.vae, self.scheduler, self.restoring, identity_encoder=told_by)
        pipeline.set_progress_bar_config(disable=True)  # the loop has one
        return pipeline

    def validate(self, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        """Restore held-out faces, without and with references; rows: LQ, without, with, truth, first reference."""
        pipeline = self.pipeline()
        hq, lq, references = batch["hq"], batch["lq"], batch["references"]
        noise = torch.randn(batch["hq_latent"].shape, generator=generator, device=hq.device)
        own = [photos if has else None for photos, has in zip(references, batch["has_references"], strict=True)]
        cases = {"alone": None} | ({"referenced": own} if self.use_references else {})
        restored = {}
        for name, given in cases.items():
            result = pipeline(lq, given, latents=noise, output_type="raw", **self.model.sampling.arguments())
            restored[name] = torch.as_tensor(result.images)
        metrics = compare({**restored, "lq": lq}, hq, batch["mask"], self.recogniser)
        return metrics, contact_sheet([lq, *restored.values(), hq, *references[:, :1].unbind(1)])
