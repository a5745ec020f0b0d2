"""Texture that a restored face has lost, taken from where the references show the same place of the same person (ours).

Reference-based super-resolution (SRNTT, Zhang et al. 2019; TTSR, Yang et al. 2020) looks for each patch of a picture
among those of another and takes over what only the other shows. Here the others show the same person, aligned to the
same places: a patch is looked for nearby alone, by what it looks like at the sharpness of a restored face, and what is
found is that person's own skin, lashes and eyes. Nothing is learnt here; what to make of it, the decoder has learnt
(`faceref.models.detail_decoder`).

Its numbers, in pixels of faces of 256, were chosen on people for validation (docs/experiments.md).
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 2  # pixels to a token's side
BANDS = (1.0, 2.0)  # texture is what lies between a picture and these Gaussians of it, in pixels of deviation
EDGES = 4.0  # and edges are what lies between the last of them and this one
SOFT = 3.0  # the Gaussian that makes a reference as soft as a restored face
REACH = 3  # how far is looked for a patch, in coarse tokens, which are twice as large
COARSE, FINE = 2.0, 2.3  # the Gaussians under which patches are compared, in coarse tokens and in tokens
FAR, NEAR = 0.1, 0.02  # what a coarse token of distance adds to the difference between patches, and a token
GAIN = 4.0  # brings texture to about the range of pictures
DOUBT = 2.0  # the difference at which patches are alike by a third
ABSENT = 1e4  # the difference from a reference that is not there
TEXTURE_CHANNELS = len(BANDS) + 2  # of what is found: the bands, the edges, and how like the patches are
LUMINANCE = (0.299, 0.587, 0.114)


def remember_texture(references: Tensor) -> tuple[Tensor, Tensor]:
    """References [B, N, 3, H, W] in [-1, 1] -> keys [B, N * tokens, 2], values [B, N * tokens, bands * 4], float32.

    A key is a token's luminance at unit contrast, and the contrast there; a value its pixels in each band of texture
    and in that of edges. H and W are multiples of 4.
    """
    grey = luminance(references.flatten(0, 1).float())
    keys = torch.cat(normalised(blur(grey, SOFT)), dim=1)  # [B * N, 2, h, w]

    def tokens(x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2).unflatten(0, references.shape[:2]).flatten(1, 2)

    return tokens(keys), tokens(F.pixel_unshuffle(bands(grey), PATCH))


def find_texture(pictures: Tensor, keys: Tensor, values: Tensor, counts: Tensor) -> Tensor:
    """What references show where restored faces [B, 3, H, W] about [-1, 1] are: [B, TEXTURE_CHANNELS, H, W], float32.

    Each band of texture and that of edges, at the faces' contrast and GAIN times as strong; and from 0 to 1 how like
    the patches are that it was taken from. keys, values: of N references each (`remember_texture`); counts [B, N]: 0 is
    absent. Zeros where all are.
    """
    found = find_patches(luminance(pictures.float()), keys.float(), values.float(), counts)
    like = torch.exp(-((found.difference / DOUBT) ** 2)).repeat_interleave(PATCH, dim=2).repeat_interleave(PATCH, dim=3)
    texture = F.pixel_shuffle(found.texture, PATCH) * (counts > 0).any(dim=1)[:, None, None, None]
    return torch.cat([GAIN * texture, like], dim=1)


@dataclass(frozen=True)
class Patches:
    """For each token of a picture the token of its references that is likest.

    texture: its bands, [B, bands * 4, h, w], at the picture's contrast; difference [B, 1, h, w], how unlike the patches
    around the two are, ABSENT where there is no reference.
    """

    texture: Tensor
    difference: Tensor


def find_patches(grey: Tensor, keys: Tensor, values: Tensor, counts: Tensor) -> Patches:
    """Look for each token of luminances [B, 1, H, W] in all references: coarsely within reach, then one token around.

    keys, values, counts: as of `find_texture`.
    """
    sought, contrast = normalised(grey)  # [B, 1, h, w]
    height, width = sought.shape[-2:]
    known = keys[:, :, 0].unflatten(1, (-1, height, width))  # [B, N, h, w]
    absent = torch.where(counts > 0, 0.0, ABSENT)[:, :, None, None, None]

    offsets = square(REACH)
    moves = torch.tensor(offsets, device=grey.device)  # [offsets, 2]
    coarse, around = F.avg_pool2d(sought, 2), F.pad(F.avg_pool2d(known, 2), (REACH,) * 4, mode="replicate")
    rows, columns = coarse.shape[-2:]
    moved = [around[:, :, REACH + y : REACH + y + rows, REACH + x : REACH + x + columns] for y, x in offsets]
    differences = torch.stack([(one - coarse).abs() for one in moved], dim=2)  # [B, N, offsets, h / 2, w / 2]
    differences = blur(differences.flatten(0, 1), COARSE).unflatten(0, differences.shape[:2])
    differences = differences + FAR * moves.float().norm(dim=1)[:, None, None] + absent
    likest = differences.flatten(1, 2).min(dim=1).indices  # as argmin, in half of its time
    best = likest.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)  # [B, h, w]
    reference, offset = best // len(offsets), 2 * moves[best % len(offsets)]

    moves = torch.tensor(square(1), device=grey.device)
    nearby = offset[:, None] + moves[:, None, None]  # [B, moves, h, w, 2]
    axes = (torch.arange(side, device=grey.device) for side in (height, width))
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    y, x = (places + nearby).unbind(-1)
    index = (reference[:, None] * height + y.clamp(0, height - 1)) * width + x.clamp(0, width - 1)
    luminances = keys[:, :, 0].gather(1, index.flatten(1)).view(index.shape)
    differences = blur((luminances - sought).abs(), FINE) + NEAR * nearby.float().norm(dim=-1)
    difference, chosen = differences.min(dim=1, keepdim=True)
    index = index.gather(1, chosen).flatten(1)  # [B, h * w]

    def take(tokens: Tensor) -> Tensor:
        taken = tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))
        return taken.transpose(1, 2).unflatten(2, (height, width))

    ratio = contrast / take(keys[:, :, 1:]).clamp(min=1e-3)
    nobody = (counts > 0).any(dim=1).logical_not()[:, None, None, None]
    return Patches(take(values) * ratio.clamp(max=1.0), difference.masked_fill(nobody, ABSENT))


def bands(grey: Tensor) -> Tensor:
    """The texture of luminances [B, 1, H, W] in each band, the finest first, then their edges: [B, bands, H, W]."""
    smoothed = [grey, *(blur(grey, deviation) for deviation in (*BANDS, EDGES))]
    return torch.cat([finer - coarser for finer, coarser in itertools.pairwise(smoothed)], dim=1)


def luminance(pictures: Tensor) -> Tensor:
    """Of pictures [B, 3, H, W]: [B, 1, H, W]."""
    return (pictures * pictures.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def normalised(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Luminances [B, 1, H, W] as tokens [B, 1, h, w] less their mean around, of unit contrast; and the contrast there.

    What is around reaches over some 40 pixels, a feature of the face; what is there over some 10.
    """
    tokens = F.avg_pool2d(blur(grey, 2.0), PATCH)
    tokens = tokens - blur(tokens, 8.0)
    around, there = ((blur(tokens.square(), deviation) + 1e-4).sqrt() for deviation in (8.0, 2.0))
    return tokens / around, there


def square(reach: int) -> list[tuple[int, int]]:
    """Offsets (y, x) up to `reach` in both directions."""
    steps = range(-reach, reach + 1)
    return list(itertools.product(steps, steps))


def blur(x: Tensor, deviation: float) -> Tensor:
    """[B, C, H, W] under a Gaussian, its deviation in pixels, replicated at the borders."""
    radius = int(3 * deviation + 0.5)
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-steps.square() / (2 * deviation**2))
    return convolved(x, kernel / kernel.sum())


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """[B, C, H, W] by one kernel [2 radius + 1] in both directions, replicated at the borders; of x's dtype.

    Under autocast too: rounded to bfloat16, pictures have two or three hundred levels.
    """
    radius = len(kernel) // 2
    planes = x.flatten(0, 1)[None]  # each a channel: CPUs convolve a batch of single channels ten times as slowly
    count = planes.shape[1]
    kernel = kernel.expand(count, 1, -1)
    with torch.autocast(x.device.type, enabled=False):
        planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel[:, :, None], groups=count)
        planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel[..., None], groups=count)
    return planes[0].unflatten(0, x.shape[:2])
