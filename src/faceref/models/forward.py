"""The forward pass of our U-Nets, spelled out over diffusers' own blocks: what is shown is an argument."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_blocks import (
    AttnDownBlock2D,
    AttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2D,
    UpBlock2D,
)
from torch import Tensor, nn

from faceref.models.identity_encoder import IdentityProjection
from faceref.models.reference import ReferenceAttnProcessor, Shown

_BLOCKS = (DownBlock2D, AttnDownBlock2D, UNetMidBlock2D, UpBlock2D, AttnUpBlock2D)
# The settings of UNet2DModel that `hidden` has one way for.
_SETTINGS = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "downsample_type": "conv",
    "upsample_type": "conv",
    "class_embed_type": None,
    "num_class_embeds": None,
}


def prepare(unet: UNet2DModel, distance_bias: bool) -> tuple[str, ...]:
    """Give every self-attention layer the processor that takes what is shown; their names, in the order of the pass.

    Raises ValueError for settings of `UNet2DModel` that the pass below does not have.
    """
    other = [name for name, value in _SETTINGS.items() if unet.config[name] != value]
    kinds = {type(block) for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks)}
    other += [kind.__name__ for kind in kinds - set(_BLOCKS)]
    if other:
        raise ValueError(f"this network is not made for {', '.join(sorted(other))}")
    named = {module: name for name, module in unet.named_modules()}
    layers = [layer for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks) for layer in attentions(block)]
    for layer in layers:
        layer.set_processor(ReferenceAttnProcessor(named[layer], distance_bias))  # type: ignore[arg-type]
    return tuple(named[layer] for layer in layers)


def hidden(
    unet: UNet2DModel, sample: Tensor, timestep: Tensor | float, shown: Shown, up_blocks: Sequence[nn.Module]
) -> Tensor:
    """`UNet2DModel.forward` without its output layers, with `shown` to every self-attention layer.

    sample [B, in_channels, h, w]; timestep: a number or [B]. up_blocks: all, or the first of the network's; what only
    prepares for the next block is left out behind the last. Returns features [B, C, h', w']; of each memory where
    several are shown, [n * B, C, h', w']. They differ from the first attention on: what is before is computed once,
    unless the network is told who the references show.
    """
    temb = _embed(unet, timestep, sample)
    x = unet.conv_in(sample)
    of_identity = None
    if (identity := shown.identity()) is not None:
        x, temb = (_copies(one, sample, shown) for one in (x, temb))
        shift, of_identity = cast(IdentityProjection, unet.identity)(identity)
        temb = temb + shift
    skips = [x]
    for block in unet.down_blocks:
        for resnet, attention in _layers(block):
            x = _resnet(block, resnet, x, temb)
            if attention is not None:
                x, temb = (_copies(one, sample, shown) for one in (x, temb))
                x = attention(x, shown=shown)
            skips.append(x)
        for downsample in block.downsamplers or ():  # type: ignore[union-attr]
            x = downsample(x)
            skips.append(x)

    middle = cast(UNetMidBlock2D, unet.mid_block)
    x, temb = (_copies(one, sample, shown) for one in (x, temb))
    x = middle.resnets[0](x if of_identity is None else x + _of_size(of_identity, x), temb)
    for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
        x = x if attention is None else attention(x, shown=shown)
        x = _resnet(middle, resnet, x, temb)

    for number, block in enumerate(up_blocks):
        if number > 0:
            for upsample in up_blocks[number - 1].upsamplers or ():  # type: ignore[union-attr]
                x = upsample(x)
        for resnet, attention in _layers(block):
            x = _resnet(block, resnet, torch.cat([x, _copies(skips.pop(), sample, shown)], dim=1), temb)
            x = x if attention is None else attention(x, shown=shown)
    return x


def output(unet: UNet2DModel, x: Tensor) -> Tensor:
    """What the network makes of the features of its last block: [B, out_channels, h, w]."""
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))


def attentions(block: nn.Module | None) -> list[Attention]:
    """The self-attention layers of a block, in order."""
    return [layer for layer in getattr(block, "attentions", ()) if layer is not None]


def _layers(block: nn.Module) -> Iterator[tuple[nn.Module, Attention | None]]:
    return zip_longest(block.resnets, getattr(block, "attentions", ()))  # type: ignore[arg-type]


def _copies(x: Tensor, sample: Tensor, shown: Shown) -> Tensor:
    """What is of the batch `sample` once, or in copies already, in copies."""
    return x if shown.copies == 1 or x.shape[0] > sample.shape[0] else shown.repeated(x)


def _of_size(features: Tensor, x: Tensor) -> Tensor:
    """Features [B, C, s, s] at the size of others, which are of a picture of another size than the network's own."""
    size = x.shape[-2:]
    return features if features.shape[-2:] == size else F.interpolate(features, size=size, mode="bilinear")


def _embed(unet: UNet2DModel, timestep: Tensor | float, sample: Tensor) -> Tensor:
    """The time embedding [B, D] of a timestep for all pictures, or of one for each, [B]."""
    timesteps = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
    return unet.time_embedding(unet.time_proj(timesteps).to(unet.dtype))


def _resnet(block: nn.Module, resnet: nn.Module, x: Tensor, temb: Tensor) -> Tensor:
    """A residual block, recomputed in the backward pass where gradient checkpointing is on."""
    if torch.is_grad_enabled() and block.gradient_checkpointing:
        return block._gradient_checkpointing_func(resnet, x, temb)  # type: ignore[operator]
    return resnet(x, temb)
