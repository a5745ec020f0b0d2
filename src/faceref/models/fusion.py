"""The last step of a restoration: what the low-quality picture still shows better than the latents is taken from it."""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn


class PixelFusion(ModelMixin, ConfigMixin):
    """Corrects a restored picture by looking at the low-quality one that it was made of. At first it changes nothing.

    Ours, beyond both papers: an autoencoder cannot draw all that a mildly degraded photograph holds, so that restoring
    such a photograph would harm it. The idea is that of StableSR's controllable feature wrapping (Wang et al. 2024,
    arXiv 2305.07015), on pictures instead of the decoder's features, so that it suits any autoencoder and resolution.
    """

    @register_to_config
    def __init__(self, patch_size: int = 2, channels: int = 64, residual_blocks: int = 4) -> None:
        """patch_size: convolutions run at 1/patch_size of the resolution; channels: a multiple of 32 (norm groups)."""
        super().__init__()
        self.conv_in = nn.Conv2d(2 * 3 * patch_size**2, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(residual_blocks)))
        self.conv_out = nn.Conv2d(channels, 3 * patch_size**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, restored: Tensor, lq: Tensor) -> Tensor:
        """Two pictures of the same face, [B, 3, H, W] about [-1, 1] -> the first, corrected.

        H and W are multiples of patch_size.
        """
        patches = F.pixel_unshuffle(torch.cat([restored, lq], dim=1), self.config["patch_size"])
        return restored + F.pixel_shuffle(self.conv_out(self.blocks(self.conv_in(patches))), self.config["patch_size"])


class ResidualBlock(ResnetBlock2D):
    """diffusers' residual block without a time embedding, and without the division by 1 that it ends in."""

    def __init__(self, channels: int) -> None:
        super().__init__(in_channels=channels, temb_channels=None)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        hidden = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(hidden)))
