"""Encoding and decoding a strip of rows at a time: what the whole picture gives, in a fraction of the memory.

An autoencoder of the paper's kind normalises over the whole picture, so that tiles decoded by themselves do not fit
together. Here each layer is computed strip by strip from the whole of what it is given: every convolution sees the rows
around its strip, and every normalisation has the mean and deviation of all rows. Two feature maps are whole at any
time, where diffusers' blocks hold about five and the workspace of the convolution.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import zip_longest
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import VQModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from faceref.models.autoencoder import Autoencoder, PixelUnshuffleVQModel

PIXELS = 1 << 15  # of a feature map that are computed together: 64 rows of 512

Prepare = Callable[[Tensor], Tensor]  # rows [B, C, n, W] of a feature map as a convolution takes them


@torch.no_grad()
def decode_in_strips(vae: Autoencoder, latents: Tensor, pixels: int = PIXELS) -> Tensor:
    """As `faceref.models.autoencoder.decode`, but for rounding: latents [B, C, h, w] -> pictures [B, 3, H, W].

    pixels: of a feature map that are computed together, at most (a row at least).
    """
    if isinstance(vae, PixelUnshuffleVQModel):
        quantised = vae.vq.quantize(latents)[0] if vae.config["quantize"] else latents
        return F.pixel_shuffle(_decode(vae.vq, quantised, pixels), vae.config["patch_size"])
    return _decode(vae, vae.quantize(latents)[0], pixels)


@torch.no_grad()
def encode_in_strips(vae: Autoencoder, pictures: Tensor, pixels: int = PIXELS) -> Tensor:
    """As `faceref.models.autoencoder.encode`, but for rounding: [B, 3, H, W] -> latents [B, C, h, w]; one by one."""
    vq = vae
    if isinstance(vae, PixelUnshuffleVQModel):
        vq, pictures = vae.vq, F.pixel_unshuffle(pictures, vae.config["patch_size"])
    return torch.cat([_encode(cast(VQModel, vq), picture, pixels) for picture in pictures.split(1)])


def _decode(vq: VQModel, quantised: Tensor, pixels: int) -> Tensor:
    decoder = vq.decoder
    x = decoder.mid_block(decoder.conv_in(vq.post_quant_conv(quantised)))
    for block in decoder.up_blocks:
        x = _residuals(block, x, pixels)
        for upsampler in cast(list[Upsample2D], block.upsamplers or ()):
            x = _upsampled(upsampler, x, pixels)
    prepare = _normalisation(cast(nn.GroupNorm, decoder.conv_norm_out), decoder.conv_act, x)
    return _convolved(decoder.conv_out, x, pixels, prepare)


def _encode(vq: VQModel, picture: Tensor, pixels: int) -> Tensor:
    encoder = vq.encoder
    x = _convolved(encoder.conv_in, picture, pixels)
    for block in encoder.down_blocks:
        x = _residuals(block, x, pixels)
        for downsampler in cast(list[Downsample2D], block.downsamplers or ()):
            x = _downsampled(downsampler, x, pixels)
    x = encoder.conv_norm_out(encoder.mid_block(x))
    return vq.quant_conv(encoder.conv_out(encoder.conv_act(x)))


def _residuals(block: nn.Module, x: Tensor, pixels: int) -> Tensor:
    """The residual blocks of a level, each followed by attention where there is some: to the whole map, at that."""
    layers = zip_longest(cast(Iterable[ResnetBlock2D], block.resnets), getattr(block, "attentions", None) or ())
    for resnet, attention in layers:
        x = _residual(resnet, x, pixels)
        x = x if attention is None else attention(x)
    return x


def _residual(block: ResnetBlock2D, x: Tensor, pixels: int) -> Tensor:
    """diffusers' residual block without a time embedding; it writes its result over `x` where that has the room."""
    hidden = _convolved(block.conv1, x, pixels, _normalisation(block.norm1, block.nonlinearity, x))
    prepare, shortcut = _normalisation(block.norm2, block.nonlinearity, hidden), block.conv_shortcut
    out = x if shortcut is None else x.new_empty(hidden.shape)
    for top, bottom in _strips(hidden, pixels):
        beside = x[:, :, top:bottom]
        torch.add(
            beside if shortcut is None else shortcut(beside),
            _rows_of(block.conv2, hidden, top, bottom, prepare),
            out=out[:, :, top:bottom],
        )
    return out


def _convolved(conv: nn.Conv2d, x: Tensor, pixels: int, prepare: Prepare = torch.Tensor.detach) -> Tensor:
    """A 3x3 convolution of what `prepare` makes of `x`."""
    out = x.new_empty(len(x), conv.out_channels, *x.shape[2:])
    for top, bottom in _strips(x, pixels):
        out[:, :, top:bottom] = _rows_of(conv, x, top, bottom, prepare)
    return out


def _upsampled(layer: Upsample2D, x: Tensor, pixels: int) -> Tensor:
    """Each pixel as four, and a 3x3 convolution."""
    batch, _, height, width = x.shape
    out = x.new_empty(batch, layer.out_channels, 2 * height, 2 * width)
    for top, bottom in _strips(out, pixels):
        first, last = max(top - 1, 0) // 2, min(bottom // 2 + 1, height)  # rows of x that the strip looks at
        out[:, :, top:bottom] = layer(x[:, :, first:last])[:, :, top - 2 * first : bottom - 2 * first]
    return out


def _downsampled(layer: Downsample2D, x: Tensor, pixels: int) -> Tensor:
    """A 3x3 convolution of every other row and column, padded below and on the right."""
    batch, _, height, width = x.shape
    out = x.new_empty(batch, layer.out_channels, height // 2, width // 2)
    for top, bottom in _strips(out, pixels // 4):
        out[:, :, top:bottom] = layer(x[:, :, 2 * top : min(2 * bottom + 1, height)])
    return out


def _rows_of(conv: nn.Conv2d, x: Tensor, top: int, bottom: int, prepare: Prepare) -> Tensor:
    """Rows top to bottom of a 3x3 convolution of what `prepare` makes of x [B, C, H, W]."""
    first, last = max(top - 1, 0), min(bottom + 1, x.shape[2])
    return conv(prepare(x[:, :, first:last]))[:, :, top - first : bottom - first]


def _normalisation(norm: nn.GroupNorm, activation: nn.Module, x: Tensor) -> Prepare:
    """What normalises rows of x [B, C, H, W] by the mean and variance of all of them, and activates them."""
    groups = x.unflatten(1, (norm.num_groups, -1))  # [B, G, C / G, H, W]
    # a group at a time, in float32: a whole copy of a map in half precision would take more than is saved
    moments = [torch.var_mean(group.float(), dim=(1, 2, 3), correction=0) for group in groups.unbind(1)]
    variance, mean = (torch.stack(moment, dim=1) for moment in zip(*moments, strict=True))  # [B, G]
    each = x.shape[1] // norm.num_groups
    scale = (variance + norm.eps).rsqrt().repeat_interleave(each, dim=1) * norm.weight  # [B, C]
    shift = norm.bias - mean.repeat_interleave(each, dim=1) * scale
    scale, shift = (value[:, :, None, None].to(x.dtype) for value in (scale, shift))
    in_place = partial(F.silu, inplace=True) if isinstance(activation, nn.SiLU) else activation
    return lambda rows: in_place(torch.addcmul(shift, rows, scale))


def _strips(x: Tensor, pixels: int) -> Iterator[tuple[int, int]]:
    """Where strips of x [B, C, H, W] begin and end, of `pixels` pixels at most."""
    batch, _, height, width = x.shape
    rows = max(pixels // (batch * width), 1)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)
