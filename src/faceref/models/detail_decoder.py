"""The last step of a restoration at twice its resolution: latents drawn large, with what the LQ picture still shows."""

import itertools
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.func import functional_call

from faceref.errors import UsageError
from faceref.models.fusion import PixelFusion, ResidualBlock


class DetailDecoder(ModelMixin, ConfigMixin):
    """Draws a face from its denoised latent and the LQ picture, larger than the latent's own decoder does.

    Ours, beyond both papers. It begins as the decoded picture, enlarged; the LQ picture is an input only, since what is
    added to it would keep its noise. The decoded picture is first corrected at its own size. Convolutions work from the
    latents' resolution up, each level being shown the LQ picture at its own scale, and the last at full resolution: a
    decoder that ends in a pixel-shuffle draws grids.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        patch_size: int = 8,
        enlargement: int = 2,
        channels: tuple[int, ...] = (160, 64, 32, 16),
        residual_blocks: tuple[int, ...] = (5, 3, 0, 0),
        correction_channels: int = 64,
        correction_blocks: int = 4,
    ) -> None:
        """patch_size: pixels of the picture to one of the latent, a power of 2; enlargement: its side to that of the
        picture that the latent decodes to.

        channels, residual_blocks: of each level, from the latents' resolution to the picture's, doubling it each time;
        multiples of 32 where there are blocks (norm groups), as are correction_channels, of the correction.
        """
        super().__init__()
        levels = len(channels)
        if 2 ** (levels - 1) != patch_size or len(residual_blocks) != levels:
            raise ValueError(f"patch_size {patch_size} takes {patch_size.bit_length()} levels, not {channels}")
        self.correction = PixelFusion(2, correction_channels, correction_blocks)
        below = (latent_channels, *channels[1:])
        self.inputs = nn.ModuleList(
            nn.Conv2d(below[level] + 6 * (patch_size >> level) ** 2, width, 3, padding=1)
            for level, width in enumerate(channels)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(channels, residual_blocks, strict=True)
        )
        self.ups = nn.ModuleList(_up(before, after) for before, after in itertools.pairwise(channels))
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def begin_as(self, fusion: PixelFusion) -> None:
        """Take over a trained correction. Raises UsageError if its sizes are not those of this one's."""
        if any(fusion.config[size] != self.correction.config[size] for size in PixelFusion.sizes):
            raise UsageError(
                "The correction of the decoder has other sizes than the model's fusion",
                hint="set correction_channels and correction_blocks to those of the fusion",
            )
        self.correction.load_state_dict(fusion.state_dict())

    def forward(self, latents: Tensor, decoded: Tensor, lq: Tensor) -> Tensor:
        """Latents [B, C, h, w], what they decode to, and the LQ picture [B, 3, H, W] in [-1, 1] -> [B, 3, H, W].

        H and W are h and w times `patch_size`; the decoded picture is smaller by `enlargement`.
        """
        base = self.correction(decoded, shrink(lq, self.config["enlargement"]))
        # in float32: CPUs do not resize in half precision
        enlarged = F.interpolate(base.float(), size=lq.shape[-2:], mode="bicubic").to(lq.dtype)
        x = latents
        for level, (enter, blocks) in enumerate(zip(self.inputs, self.blocks, strict=True)):
            if level:
                x = F.pixel_shuffle(self.ups[level - 1](F.silu(x)), 2)
            seen = [F.pixel_unshuffle(picture, self.config["patch_size"] >> level) for picture in (lq, enlarged)]
            x = blocks(enter(torch.cat([x, *seen], dim=1)))
        return enlarged + self.conv_out(F.silu(x))


def shrink(pictures: Tensor, factor: int) -> Tensor:
    """Pictures [B, C, H, W] as [B, C, H / factor, W / factor]; each pixel the mean of those that it replaces."""
    return F.avg_pool2d(pictures, factor)


def draw_between(
    soft: DetailDecoder, crisp: DetailDecoder, share: float, latents: Tensor, decoded: Tensor, lq: Tensor
) -> Tensor:
    """What a decoder draws whose weights lie between two that are alike: 0 `soft`, 1 `crisp`.

    Between weights that one training led from the other there is every degree of crispness (ESRGAN's network
    interpolation, Wang et al. 2018); between their pictures there are only double contours.
    """
    towards = dict(crisp.named_parameters())
    weights = {name: weight.lerp(towards[name], share) for name, weight in soft.named_parameters()}
    return cast(Tensor, functional_call(soft, weights, (latents, decoded, lq)))


@torch.no_grad()
def _up(before: int, after: int) -> nn.Conv2d:
    """The convolution before a pixel-shuffle by 2.

    The four pixels that it makes of one begin alike, so that there is no grid at first (Aitken et al. 2017).
    """
    conv = nn.Conv2d(before, 4 * after, 3, padding=1)
    conv.weight.copy_(conv.weight[::4].repeat_interleave(4, dim=0))
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
