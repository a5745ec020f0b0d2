"""Linear layers and attention, computed as convolutions where torch's own matrix products are slow; a bias for it.

torch multiplies float32 matrices with MKL, which leaves AVX-512 aside on AMD's processors: 110 GFLOP/s of a core of an
EPYC (Zen 5), where oneDNN, which computes the convolutions, reaches 240 (docs/performance.md).
"""

import platform
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 256  # queries at a time, whose logits for some thousand keys stay near; fewer rows are no faster this way
IMAGES = 16  # from so many in a batch on, oneDNN computes a 1x1 convolution whatever the number of threads is


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer(x)` for tokens [B, T, C]."""
    if x.dtype != torch.float32 or not _as_convolution(x, x.shape[0] * x.shape[1]):
        return layer(x)  # bfloat16's products are oneDNN's anyway
    return _products(x.flatten(0, 1), layer.weight, layer.bias).unflatten(0, x.shape[:2])


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D) + bias) value: [B, H, T, D], [B, H, S, D] and [B, H, S, D] -> [B, H, T, D].

    bias: to be broadcast to [B, H, T, S]; None: nothing.
    """
    if not _as_convolution(query, query.shape[2]) or key.shape[2] < ROWS:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    query = query * query.shape[-1] ** -0.5
    biases = None if bias is None else bias.expand(*query.shape[:3], key.shape[2])  # [B, H, T, S]
    result = torch.empty_like(query)
    for place in product(range(query.shape[0]), range(query.shape[1])):
        keys, values = key[place].contiguous(), value[place].T.contiguous()
        for start in range(0, query.shape[2], ROWS):
            rows = (*place, slice(start, start + ROWS))
            logits = _products(query[rows], keys)  # [ROWS, S]
            if biases is not None:
                logits += biases[rows]
            result[rows] = _products(logits.softmax(dim=-1), values)
    return result


def _products(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows [n, C] times weight [K, C] transposed: [n, K], as a 1x1 convolution of IMAGES pictures; n % IMAGES is 0."""
    pictures = rows.reshape(IMAGES, -1, 1, rows.shape[1]).permute(0, 3, 1, 2)  # channels last
    return F.conv2d(pictures, weight[..., None, None], bias).permute(0, 2, 3, 1).reshape(len(rows), -1)


def _as_convolution(x: Tensor, rows: int) -> bool:
    """Whether products of so many rows of x are faster as convolutions, and nobody needs them as anything else."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and rows >= ROWS
        and rows % IMAGES == 0
        and mkl_is_slow()
    )


@cache
def mkl_is_slow() -> bool:
    """Whether this processor is AMD's: known, not measured, so that a picture is the same each time it is computed."""
    said = platform.processor()  # on Windows
    with suppress(OSError):
        said += Path("/proc/cpuinfo").read_text()
    return "AuthenticAMD" in said and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


def distance_bias(height: int, width: int, heads: int, device: torch.device) -> Tensor:
    """What is taken off the logits for the distance between two tokens: [1, heads, h * w, h * w], float32.

    Attention with linear biases (Press et al. 2022, arXiv 2108.12409) in two dimensions: head i takes slope_i times the
    distance, in shares of the feature map's height, with slopes from 64 (the same place) to 1 (anywhere). Aligned faces
    have the same feature at the same place, so the heads find it in the references without having to learn where.
    """
    rows, columns = torch.meshgrid(*(torch.arange(side, device=device) for side in (height, width)), indexing="ij")
    places = torch.stack([rows, columns], dim=-1).flatten(0, 1) / height  # [h * w, 2]
    slopes = torch.logspace(6, 0, heads, base=2, device=device)
    return (-slopes[:, None, None] * torch.cdist(places, places))[None]
