"""Networks that tell photographs from drawings, patch by patch, so that drawings come to look like photographs."""

from collections.abc import Callable, Sequence

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


class ProjectedDiscriminator(nn.Module):
    """Judges pictures, and the maps that a frozen network makes of them (projected GANs, Sauer et al. 2021).

    What a recogniser has learnt of faces need not be learnt again, so that a few thousand pictures are enough where a
    PatchGAN has seen too little to teach anything. The pictures themselves are judged beside its maps, since it has
    learnt to overlook grids and noise. All layers are spectrally normalised (Miyato et al. 2018): the discriminator
    must not win.
    """

    def __init__(self, features: Callable[[Tensor], Sequence[Tensor]], widths: Sequence[int], channels: int = 48):
        """features: pictures [B, 3, H, W] in [-1, 1] -> maps, finest first, those of `widths` channels and no others
        being judged; channels: of the first layer on the pictures.
        """
        super().__init__()
        self.features = features
        self.of_pictures = nn.Sequential(
            *_layer(3, channels, 4, 2),
            *_layer(channels, 2 * channels, 4, 2),
            *_layer(2 * channels, 4 * channels, 4, 2),
            *_layer(4 * channels, 4 * channels, 3, 1),
            _normalised(4 * channels, 1, 3, 1),
        )
        self.of_maps = nn.ModuleList(
            nn.Sequential(*_layer(width, 64, 1, 1), *_layer(64, 64, 3, 1), _normalised(64, 1, 3, 1)) for width in widths
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Pictures [B, 3, H, W] in [-1, 1] -> logits [B, 1, h, w] of their patches, then of those of each map."""
        maps = self.features(pictures)[: len(self.of_maps)]
        judged = [head(F.group_norm(one, 1)) for head, one in zip(self.of_maps, maps, strict=True)]
        return [self.of_pictures(pictures), *judged]


def _normalised(before: int, after: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2))


def _layer(before: int, after: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return _normalised(before, after, kernel, stride), nn.LeakyReLU(SLOPE)
