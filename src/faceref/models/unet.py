"""The denoiser of ReF-LDM: diffusers' U-Net whose self-attention also looks at reference photographs."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention import AttentionMixin
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from faceref.models.configuration import extends_configuration
from faceref.models.forward import attentions, hidden, output, prepare
from faceref.models.identity_encoder import IdentityProjection
from faceref.models.reference import Memory, Reading, Recording, ReferenceCache, Several, Shown


class ReferenceUNet(AttentionMixin, UNet2DModel):
    """A `UNet2DModel` on [noisy latent, LQ latent] whose self-attention layers can read a `ReferenceCache`.

    `in_channels` is twice the latent's. Nothing is kept between calls: threads may share one network.
    None of our own settings is in the paper; all are for networks trained on few samples:
    distance_bias: attention prefers the same place of the face (`faceref.models.attention.distance_bias`).
    lq_residual: the LQ latent is added to the network's output, which is zero at first; for a network that predicts the
    clean latent (prediction_type "sample").
    identity_size: the network is told who the references show, in so many numbers each
    (`faceref.models.identity_encoder`); None: it is not.
    """

    @extends_configuration(UNet2DModel)
    def __init__(
        self,
        *args: Any,
        distance_bias: bool = False,
        lq_residual: bool = False,
        identity_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.attention_layers = prepare(self, distance_bias)  # their order is that of a cache's keys and values
        if identity_size:
            widths, size = self.config["block_out_channels"], self.config["sample_size"]
            side = size >> (len(widths) - 1)
            time_channels = self.time_embedding.linear_2.out_features
            self.identity = IdentityProjection(identity_size, time_channels, widths[-1], side)
        if lq_residual:
            for parameter in self.conv_out.parameters():
                nn.init.zeros_(parameter)

    def encode_references(
        self, latents: Tensor, multiplicity: Tensor | None = None, identities: Tensor | None = None
    ) -> ReferenceCache:
        """Keys and values of reference latents [B, N, C, h, w], one pass over all B * N (ReF-LDM, section 3.2).

        Each goes through this network at timestep 0 with the LQ half of the input zero, up to the last attention layer.
        multiplicity [B, N]: see `ReferenceCache`. identities [B, N, identity_size]: for a network that is told them;
        None: nobody's. Gradients flow.
        """
        batch, references = latents.shape[:2]
        if (size := self.config["identity_size"]) is None:
            identities = None
        else:
            nobody = latents.new_zeros(batch, references, size)
            identities = nobody if identities is None else identities.to(latents.dtype).reshape(nobody.shape)
        latents = latents.flatten(0, 1)  # [B * N, C, h, w]
        recording = Recording()
        last = max((i for i, block in enumerate(self.up_blocks) if attentions(block)), default=-1)
        sample = torch.cat([latents, torch.zeros_like(latents)], dim=1)
        hidden(self, sample, 0, Shown(recording), self.up_blocks[: last + 1])  # type: ignore[arg-type]

        def join(x: Tensor) -> Tensor:
            return x.unflatten(0, (batch, references)).flatten(1, 2)  # [B * N, tokens, C] -> [B, N * tokens, C]

        keys, values = zip(*(recording.layers[layer] for layer in self.attention_layers), strict=True)
        return ReferenceCache(
            self.attention_layers,
            tuple(map(join, keys)),
            tuple(map(join, values)),
            references,
            multiplicity,
            identities=identities,
        )

    def forward(
        self, sample: Tensor, timestep: Tensor | float, references: ReferenceCache | None = None
    ) -> UNet2DOutput:
        """Predict the noise (or what the scheduler's prediction_type says) in `sample`.

        sample: [B, 2C, h, w], noisy latent and LQ latent; timestep: a number or [B]; references: for B images.
        """
        return self.denoise(sample, timestep, Shown(self.remember(references, sample)))

    def forward_each(
        self, sample: Tensor, timestep: Tensor | float, references: Sequence[ReferenceCache], *features: Tensor
    ) -> tuple[Tensor, ...]:
        """`forward` with each of several references for the same B images: their predictions.

        One pass, in which what comes before the first look at references is computed once.
        """
        shown = Shown(Several([self.remember(one, sample) for one in references]), *features)
        return self.denoise(sample, timestep, shown).sample.chunk(len(references))

    def remember(self, references: ReferenceCache | None, sample: Tensor) -> Memory:
        """The references of one pass over `sample` for the attention layers; ValueError if they do not belong to it."""
        if references is None:
            return Memory()
        if references.layers != self.attention_layers or references.batch_size != len(sample):
            raise ValueError(
                f"references for {references.batch_size} images and {len(references.layers)} layers were given to a "
                f"network with {len(self.attention_layers)} layers and {len(sample)} images"
            )
        if (references.identities is not None) != (self.config["identity_size"] is not None):
            raise ValueError("references whose identities are known, and a network that is told them, need each other")
        return Reading(references)

    def denoise(self, sample: Tensor, timestep: Tensor | float, shown: Shown) -> UNet2DOutput:
        """`forward` with what the attention layers are shown."""
        predicted = output(self, hidden(self, sample, timestep, shown, self.up_blocks))  # type: ignore[arg-type]
        if self.config["lq_residual"]:
            channels = predicted.shape[1]
            predicted = predicted + shown.repeated(sample[:, channels : 2 * channels])
        return UNet2DOutput(predicted)
