"""Autoencoders: loading any, and the one that works at low resolution only, for models that train and run on a CPU.

Models of the paper's kind use diffusers' `VQModel` as it is; both have the same `encode(x).latents` and `decode(z).sample`.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import VQModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.autoencoders.vq_model import VQEncoderOutput

from faceref.errors import CheckpointError


class PixelUnshuffleVQModel(VQModel):
    """A `VQModel` between pixel-unshuffle and pixel-shuffle: every convolution runs at 1/`patch_size` of the resolution.

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
        super().__init__(
            in_channels=3 * patch_size**2,
            out_channels=3 * patch_size**2,
            block_out_channels=(base_channels,),
            layers_per_block=residual_blocks,
            latent_channels=latent_channels,
            num_vq_embeddings=codebook_size,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        )

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> VQEncoderOutput:
        """[B, 3, H, W] in [-1, 1] -> latents [B, latent_channels, H / patch_size, W / patch_size], before quantisation."""
        return super().encode(F.pixel_unshuffle(x, self.config.patch_size), return_dict)

    def decode(self, h: torch.Tensor, return_dict: bool = True) -> DecoderOutput:
        """Latents [B, C, h, w] -> pictures [B, 3, h * patch_size, w * patch_size], about [-1, 1]."""
        decoded = super().decode(h, force_not_quantize=not self.config.quantize)
        return DecoderOutput(F.pixel_shuffle(decoded.sample, self.config.patch_size), decoded.commit_loss)

    @torch.no_grad()
    def normalize_latents(self, images: torch.Tensor) -> None:
        """Bring each latent channel to mean 0 and deviation 1 over `images` [B, 3, H, W]; reconstructions stay the same.

        The scale is folded into the 1x1 convolutions on both sides of the latents, so that they are used unscaled
        everywhere, as ReF-LDM's are. Only for continuous latents: a codebook lives at the old scale.
        """
        latents = self.encode(images).latents
        mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
        # quant_conv'(x) = (quant_conv(x) - mean) / deviation;  post_quant_conv'(z) = post_quant_conv(z * deviation + mean)
        self.post_quant_conv.bias += self.post_quant_conv.weight[:, :, 0, 0] @ mean
        self.post_quant_conv.weight *= deviation[:, None, None]
        self.quant_conv.bias.copy_((self.quant_conv.bias - mean) / deviation)
        self.quant_conv.weight /= deviation[:, None, None, None]


def load_autoencoder(folder: Path) -> VQModel:
    """Read an autoencoder written by `save_pretrained`: the vae/ of a model folder, or that folder itself.

    Raises CheckpointError if there is none or it is damaged.
    """
    folder = folder / "vae" if (folder / "vae").is_dir() else folder
    try:
        kind = json.loads((folder / "config.json").read_text())["_class_name"]
        return _AUTOENCODERS[kind].from_pretrained(folder, low_cpu_mem_usage=False)
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"There is no usable autoencoder in {folder}: {error}.") from error


_AUTOENCODERS: dict[str, type[VQModel]] = {"VQModel": VQModel, "PixelUnshuffleVQModel": PixelUnshuffleVQModel}
