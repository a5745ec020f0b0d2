"""Autoencoders: what any offers, and the one that works at low resolution only, for models that train and run on a CPU.

Models of the paper's kind use diffusers' `VQModel` as it is; both have `encode(x).latents`, `quantize(z)`,
`decode(z).sample` and `decode(z, force_not_quantize=True).sample`.
"""

from typing import cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, VQModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.autoencoders.vq_model import VQEncoderOutput


class PixelUnshuffleVQModel(ModelMixin, ConfigMixin):
    """A `VQModel` between pixel-unshuffle and pixel-shuffle: all convolutions run at 1/`patch_size` of the resolution.

    With `quantize=False` the codebook is left out of decoding and the latents are continuous. Whether that is needed is
    an experiment of ours (docs/experiments.md), not part of either paper.
    """

    @register_to_config
    def __init__(
        self,
        patch_size: int = 4,
        base_channels: int = 96,
        residual_blocks: int = 1,
        latent_channels: int = 4,
        codebook_size: int = 1024,
        quantize: bool = False,
    ):
        super().__init__()
        self.vq = VQModel(
            in_channels=3 * patch_size**2,
            out_channels=3 * patch_size**2,
            block_out_channels=(base_channels,),
            layers_per_block=residual_blocks,
            latent_channels=latent_channels,
            num_vq_embeddings=codebook_size,
            mid_block_add_attention=False,
        )

    @property
    def decoder(self) -> torch.nn.Module:
        return self.vq.decoder

    @property
    def quantize(self) -> torch.nn.Module:
        return self.vq.quantize

    def encode(self, x: torch.Tensor) -> VQEncoderOutput:
        """[B, 3, H, W] in [-1, 1] -> latents [B, C, H / patch_size, W / patch_size], before quantisation."""
        return self.vq.encode(F.pixel_unshuffle(x, self.config["patch_size"]))

    def decode(self, h: torch.Tensor, force_not_quantize: bool = False) -> DecoderOutput:
        """Latents [B, C, h, w] -> pictures [B, 3, h * patch_size, w * patch_size], about [-1, 1]."""
        as_they_are = force_not_quantize or not self.config["quantize"]
        decoded = cast(DecoderOutput, self.vq.decode(h, force_not_quantize=as_they_are))
        return DecoderOutput(F.pixel_shuffle(decoded.sample, self.config["patch_size"]), decoded.commit_loss)

    @torch.no_grad()
    def normalize_latents(self, images: torch.Tensor) -> None:
        """Bring each latent channel to mean 0 and deviation 1 over `images` [B, 3, H, W]; pictures decode as before.

        The scale is folded into the 1x1 convolutions on both sides of the latents, so that they are used unscaled
        everywhere, as ReF-LDM's are. Only for continuous latents: a codebook lives at the old scale.
        """
        latents = encode(self, images)
        mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
        before, after = self.vq.quant_conv, self.vq.post_quant_conv
        assert before.bias is not None
        assert after.bias is not None
        after.bias += after.weight[:, :, 0, 0] @ mean  # after'(z) = after(z * deviation + mean)
        after.weight *= deviation[:, None, None]
        before.bias.copy_((before.bias - mean) / deviation)  # before'(x) = (before(x) - mean) / deviation
        before.weight /= deviation[:, None, None, None]


Autoencoder = VQModel | PixelUnshuffleVQModel
AUTOENCODERS: tuple[type[Autoencoder], ...] = (VQModel, PixelUnshuffleVQModel)


def encode(vae: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """[B, 3, H, W] in [-1, 1] -> latents [B, C, h, w] before quantisation, unscaled."""
    return vae.encode(images).latents


def decode(vae: Autoencoder, latents: torch.Tensor) -> torch.Tensor:
    """Latents [B, C, h, w] -> pictures [B, 3, H, W], about [-1, 1]; a model with a codebook quantises first."""
    return cast(DecoderOutput, vae.decode(latents)).sample
