"""The network that tells photographs from drawings, patch by patch, so that drawings come to look like photographs."""

from torch import Tensor, nn

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
