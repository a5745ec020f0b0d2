"""The denoiser of ReF-LDM: diffusers' U-Net whose self-attention also looks at reference photographs."""

import copy
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention import AttentionMixin
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from faceref.models.configuration import extends_configuration
from faceref.models.reference import Reading, Recording, ReferenceAttnProcessor, ReferenceCache, active


class ReferenceUNet(AttentionMixin, UNet2DModel):
    """A `UNet2DModel` on [noisy latent, LQ latent] whose self-attention layers can read a `ReferenceCache`.

    `in_channels` is twice the latent's. Nothing is kept between calls: threads may share one network.
    Neither setting of our own is in the paper; both are for networks trained on few samples:
    distance_bias: attention prefers the same place of the face (`faceref.models.reference.distance_bias`).
    lq_residual: the LQ latent is added to the network's output, which is zero at first; for a network that predicts the
    clean latent (prediction_type "sample").
    """

    @extends_configuration(UNet2DModel)
    def __init__(self, *args: Any, distance_bias: bool = False, lq_residual: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attention = {name: module for name, module in self.named_modules() if isinstance(module, Attention)}
        for name, module in attention.items():
            module.set_processor(ReferenceAttnProcessor(name, distance_bias))  # type: ignore[arg-type]
        self.attention_layers = tuple(attention)  # their order is that of a cache's keys and values
        if lq_residual:
            for parameter in self.conv_out.parameters():
                nn.init.zeros_(parameter)

    def encode_references(self, latents: Tensor, multiplicity: Tensor | None = None) -> ReferenceCache:
        """Keys and values of reference latents [B, N, C, h, w], one pass over all B * N (ReF-LDM, section 3.2).

        Each goes through this network at timestep 0 with the LQ half of the input zero. multiplicity [B, N]: see
        `ReferenceCache`. Gradients flow.
        """
        batch, references = latents.shape[:2]
        latents = latents.flatten(0, 1)  # [B * N, C, h, w]
        recording = Recording()
        with active.during(recording):
            sample = torch.cat([latents, torch.zeros_like(latents)], dim=1)
            UNet2DModel.forward(self._up_to_last_attention(), sample, 0)

        def join(x: Tensor) -> Tensor:
            return x.unflatten(0, (batch, references)).flatten(1, 2)  # [B * N, tokens, C] -> [B, N * tokens, C]

        layers = self.attention_layers
        return ReferenceCache(
            layers,
            keys=tuple(join(recording.layers[layer][0]) for layer in layers),
            values=tuple(join(recording.layers[layer][1]) for layer in layers),
            references=references,
            multiplicity=multiplicity,
        )

    def forward(
        self, sample: Tensor, timestep: Tensor | float, references: ReferenceCache | None = None
    ) -> UNet2DOutput:
        """Predict the noise (or what the scheduler's prediction_type says) in `sample`.

        sample: [B, 2C, h, w], noisy latent and LQ latent; timestep: a number or [B]; references: for B images.
        """
        if references is None:
            return self._denoise(sample, timestep)
        if references.layers != self.attention_layers or references.batch_size != len(sample):
            raise ValueError(
                f"references for {references.batch_size} images and {len(references.layers)} layers were given to a "
                f"network with {len(self.attention_layers)} layers and {len(sample)} images"
            )
        with active.during(Reading(references)):
            return self._denoise(sample, timestep)

    def _denoise(self, sample: Tensor, timestep: Tensor | float) -> UNet2DOutput:
        output: Tensor = super().forward(sample, timestep).sample  # type: ignore[union-attr]
        if self.config["lq_residual"]:
            channels = output.shape[1]
            output = output + sample[:, channels : 2 * channels]
        return UNet2DOutput(output)

    def _up_to_last_attention(self) -> UNet2DModel:
        """A view of this network without what follows its last attention layer: for references that is wasted work."""
        last = max([i for i, block in enumerate(self.up_blocks) if hasattr(block, "attentions")], default=-1)
        view = copy.copy(self)  # the same submodules and parameters
        view._modules = self._modules | {
            "up_blocks": self.up_blocks[: last + 1],
            "conv_norm_out": nn.Identity(),
            "conv_act": nn.Identity(),
            "conv_out": nn.Identity(),
        }
        return view
