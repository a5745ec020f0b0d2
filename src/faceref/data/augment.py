"""Augmentation of the references in training: each one a little different in colour, pose and side (ReF-LDM)."""

import math

import torch
from kornia import enhance
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from torch import Tensor

# The values of ReF-LDM's released configuration.
BRIGHTNESS = CONTRAST = SATURATION = 0.2  # factors 0.8..1.2
HUE = 0.02  # of the full circle
ROTATION_DEGREES = 2.0
SHIFT = 0.05  # of the side
SCALE = 0.05
PERSPECTIVE = 0.2  # corners move inwards by up to this share of half the side, in every second picture
FLIP_PROBABILITY = 0.5


@torch.no_grad()
def augment_references(images: Tensor, generator: torch.Generator) -> Tensor:
    """Jitter the colours, then move, distort and perhaps flip each picture by its own random amount.

    images [B, 3, H, W] in [-1, 1] -> the same shape and range, float32. What comes into view from outside is reflected.
    """
    with torch.autocast(images.device.type, enabled=False):
        draws = torch.rand(len(images), 18, generator=generator, device=generator.device).to(images.device)
        jittered = _jitter_colours((images.float() + 1) / 2, draws[:, :4])
        height, width = images.shape[-2:]
        matrices = _homographies(draws[:, 4:], height, width)
        warped = warp_perspective(jittered, matrices, (height, width), padding_mode="reflection")
        return warped.clamp(0, 1) * 2 - 1


def _jitter_colours(images: Tensor, draws: Tensor) -> Tensor:
    """images [B, 3, H, W] in [0, 1], draws [B, 4] in [0, 1)."""
    brightness, contrast, saturation, hue = (2 * draws - 1).unbind(1)  # [B] each, in -1..1
    images = enhance.adjust_brightness_accumulative(images, 1 + BRIGHTNESS * brightness)
    images = enhance.adjust_contrast_with_mean_subtraction(images, 1 + CONTRAST * contrast)
    images = enhance.adjust_saturation_with_gray_subtraction(images, 1 + SATURATION * saturation)
    return enhance.adjust_hue(images, 2 * math.pi * HUE * hue)


def _homographies(draws: Tensor, height: int, width: int) -> Tensor:
    """Matrices [B, 3, 3] from source to result pixels; draws [B, 14] in [0, 1)."""
    right, bottom = width - 1, height - 1
    corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=draws.dtype, device=draws.device)
    inwards = 1 - 2 * corners / corners[2]  # [4, 2]: +1 or -1
    size = corners[2] + 1
    distorted = (draws[:, 0] < 0.5).view(-1, 1, 1)
    moved = corners + distorted * PERSPECTIVE / 2 * size * draws[:, 1:9].view(-1, 4, 2) * inwards

    angle = (2 * draws[:, 9] - 1) * math.radians(ROTATION_DEGREES)
    scale = 1 + SCALE * (2 * draws[:, 10] - 1)
    flip = torch.where(draws[:, 11] < FLIP_PROBABILITY, -1.0, 1.0)
    shift = SHIFT * (2 * draws[:, 12:14] - 1) * size
    rotation = scale.view(-1, 1, 1) * torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(
        -1, 2, 2
    )
    centre = corners[2] / 2
    centred = (moved - centre) @ rotation.mT * torch.stack([flip, torch.ones_like(flip)], 1)[:, None]
    targets = centred + centre + shift[:, None]
    return get_perspective_transform(corners.expand_as(targets).contiguous(), targets)
