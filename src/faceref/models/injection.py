"""HQ features injected into a diffusion U-Net behind its self-attention blocks (LD-BFR, stage 2).

The abstract of LD-BFR says that features of the vector-quantised restoration guide the diffusion; where and how is read
from its released code, whose sizes stand in [brackets] here. Ours is that sizes follow from the U-Net and the features,
so that small models have injections too, and that features may be finer than the feature map (pixel unshuffle).
"""

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from faceref.errors import UsageError
from faceref.models.reference import ReferenceAttnProcessor, Shown

DOWNSAMPLINGS = (2, 4)  # of the U-Net, at which self-attention is followed by an injection; there is none at [8]


class DownInjection(nn.Module):
    """The form on the way down: both maps through convolutions, then self-attention.

    feature x [B, C, h, w] and q' [B, c, h, w]: concatenate -> 3x3 convolution to [B, 2C, h, w] -> group norm -> 3x3
    convolution to [B, C, h, w] -> group norm -> self-attention -> zero-initialised 1x1 projection -> what x gains.
    """

    def __init__(self, channels: int, feature_channels: int, head_channels: int, groups: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(channels + feature_channels, 2 * channels, 3, padding=1)
        self.norm = nn.GroupNorm(groups, 2 * channels)
        self.conv_2 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.attention = Attention(  # begins with the second group norm, ends with the projection
            channels, heads=channels // head_channels, dim_head=head_channels, norm_num_groups=groups, bias=True
        )
        _set_to_zero(self.attention.to_out[0])  # type: ignore[index]

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        mixed = self.conv_2(self.norm(self.conv_1(torch.cat([x, features], dim=1))))
        return self.attention(mixed)


class UpInjection(nn.Module):
    """The form on the way up: adaptive layer norm, then cross-attention to the features.

    x [B, C, h, w] and q' [B, c, h, w] as tokens [B, h * w, .]: SiLU and linear on [x, q'] give scale and shift, [B, h *
    w, C] each; LayerNorm(x) (1 + scale) + shift -> LayerNorm -> cross-attention, keys and values from q' -> + x ->
    zero-initialised 1x1 projection -> what x gains.
    """

    def __init__(self, channels: int, feature_channels: int, head_channels: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(channels + feature_channels, 2 * channels)
        self.norm_1 = nn.LayerNorm(channels)
        self.norm_2 = nn.LayerNorm(channels)
        self.attention = Attention(
            channels, feature_channels, heads=channels // head_channels, dim_head=head_channels, bias=False
        )
        self.proj_out = nn.Linear(channels, channels)
        _set_to_zero(self.proj_out)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        tokens, keys = (one.flatten(2).transpose(1, 2) for one in (x, features))  # [B, h * w, C], [B, h * w, c]
        scale, shift = self.modulation(F.silu(torch.cat([tokens, keys], dim=2))).chunk(2, dim=2)  # [B, h * w, C] each
        modulated = self.norm_1(tokens) * (1 + scale) + shift
        attended = self.attention(self.norm_2(modulated), keys) + tokens
        return self.proj_out(attended).transpose(1, 2).unflatten(2, x.shape[2:])


class FeatureInjection(nn.Module):
    """The attention processor of a self-attention layer: the processor that it had, then an injection."""

    def __init__(self, attend: ReferenceAttnProcessor, inject: DownInjection | UpInjection) -> None:
        super().__init__()
        self.attend = attend
        self.inject = inject

    def __call__(  # not forward: diffusers reads the names of the arguments off this
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        shown: Shown,
    ) -> Tensor:
        """The attention of [B, C, h, w] with the features injected: the same shape."""
        x = self.attend(attn, hidden_states, shown=shown)
        if shown.features is None:
            return x
        # A copy keeps the memory layout of x, on which rounding in the next convolution depends; a sum may not.
        features = to_size(shown.repeated(shown.features), x.shape[-1]).to(x.dtype)
        return x.clone().add_(self.inject(x, features))


def to_size(features: Tensor, size: int) -> Tensor:
    """q' [B, c, s, s] at another size [B, c (s / size)^2, size, size], the same numbers: [256x16x16 -> 64x32x32]."""
    if size < features.shape[-1]:
        return F.pixel_unshuffle(features, features.shape[-1] // size)
    return F.pixel_shuffle(features, size // features.shape[-1])


def add_injections(unet: UNet2DModel, feature_channels: int, feature_size: int) -> None:
    """Give a U-Net injections of features [B, feature_channels, feature_size, feature_size], once and for all.

    They follow every self-attention layer of the blocks at downsampling 2 and 4 (not that of the middle block). Their
    weights are the U-Net's from then on, `*.attentions.N.processor.inject.*`; the names of the others stay.

    Raises UsageError if the features cannot be brought to one of the sizes by pixel shuffle.
    """
    config = unet.config
    size: int = config["sample_size"]
    head_channels, groups = config["attention_head_dim"], config["norm_num_groups"]
    for way, blocks in (("down", unet.down_blocks), ("up", reversed(unet.up_blocks))):
        for level, block in enumerate(blocks):
            if 2**level not in DOWNSAMPLINGS:
                continue
            channels_here = _channels_at(size // 2**level, feature_channels, feature_size)
            for attention in getattr(block, "attentions", ()):
                channels = attention.to_q.in_features
                if way == "down":
                    inject = DownInjection(channels, channels_here, head_channels or channels, groups)
                else:
                    inject = UpInjection(channels, channels_here, head_channels or channels)
                attention.set_processor(FeatureInjection(attention.processor, inject))


def _channels_at(size: int, feature_channels: int, feature_size: int) -> int:
    """The channels of the features at a size; c and s in `to_size`."""
    ratio, rest = divmod(size, feature_size) if size >= feature_size else divmod(feature_size, size)
    if rest or (size > feature_size and feature_channels % ratio**2):
        raise UsageError(
            f"Features of {feature_channels}x{feature_size}x{feature_size} cannot be brought to {size}x{size} by pixel "
            "shuffle",
            hint="choose sizes that are multiples of each other and more channels",
        )
    return feature_channels * feature_size**2 // size**2


def _set_to_zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
