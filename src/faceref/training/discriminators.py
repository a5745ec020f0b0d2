"""Networks that tell photographs from drawings, place by place, so that drawings come to look like photographs."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of the leaky rectifiers


class PatchDiscriminator(nn.Sequential):
    """PatchGAN (Isola et al. 2017): pictures [B, 3, H, W] in [-1, 1] -> [logits [B, 1, ~H/8, ~W/8]], one per patch."""

    def __init__(self, channels: int = 64, layers: int = 3):
        blocks: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for i in range(1, layers + 1):
            before, after = channels * min(2 ** (i - 1), 8), channels * min(2**i, 8)
            stride = 2 if i < layers else 1
            blocks += [
                nn.Conv2d(before, after, 4, stride, 1, bias=False),
                nn.GroupNorm(32, after),  # not batch norm: the same picture scores the same in any batch
                nn.LeakyReLU(SLOPE),
            ]
        super().__init__(*blocks, nn.Conv2d(channels * min(2**layers, 8), 1, 4, 1, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:  # type: ignore[override]
        return [super().forward(pictures)]


class UNetDiscriminator(nn.Module):
    """Judges each pixel of pictures [B, 3, H, W] in [-1, 1] by what is around it (Schönfeld et al. 2020).

    As in Real-ESRGAN (Wang et al. 2021): skips are added, all layers but the first and the last spectrally normalised
    (Miyato et al. 2018). H and W are multiples of 8.
    """

    def __init__(self, channels: int = 32):
        """channels: of the first layer; each of the three levels below has twice as many as the one above."""
        super().__init__()
        widths = [channels << level for level in range(4)]
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.downs = nn.ModuleList(_normalised(above, below, 4, 2) for above, below in itertools.pairwise(widths))
        self.ups = nn.ModuleList(_normalised(below, above, 3, 1) for above, below in itertools.pairwise(widths))
        self.last = nn.ModuleList(_normalised(channels, channels, 3, 1) for _ in range(2))
        self.conv_out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps of every level on the way down and up, then the logits [B, 1, H, W]."""
        maps = [F.leaky_relu(self.conv_in(pictures), SLOPE)]
        for down in self.downs:
            maps.append(F.leaky_relu(down(maps[-1]), SLOPE))
        x = maps[-1]
        for up, skip in zip(reversed(self.ups), maps[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.leaky_relu(up(x), SLOPE) + skip
            maps.append(x)
        for conv in self.last:
            x = F.leaky_relu(conv(x), SLOPE)
        return [*maps, self.conv_out(x)]


class PartDiscriminator(nn.Module):
    """Judges a part of the face, pictures [B, 3, H, W] in [-1, 1] of one size, as a whole: one eye beside the other.

    As GFPGAN has one for each eye and one for the mouth (Wang et al. 2021); normalised like the one above.
    """

    def __init__(self, height: int, width: int, channels: int = 32):
        """height, width: of the pictures, at least 16. channels: of the first layer; each next has twice as many."""
        super().__init__()
        widths = [3, *(channels << level for level in range(4))]
        self.downs = nn.ModuleList(_normalised(before, after, 4, 2) for before, after in itertools.pairwise(widths))
        self.conv_out = spectral_norm(nn.Conv2d(widths[-1], 1, (height // 16, width // 16)))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps of every level, then the logits [B, 1, 1, 1]."""
        maps = [pictures]
        for down in self.downs:
            maps.append(F.leaky_relu(down(maps[-1]), SLOPE))
        return [*maps[1:], self.conv_out(maps[-1])]


def _normalised(before: int, after: int, size: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, size, stride, 1, bias=False))
