"""Augmentation of the references in training: each one a little different in colour, pose and side (ReF-LDM)."""

import math

import torch
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from pydantic import BaseModel, ConfigDict
from torch import Tensor


class ReferenceAugmentation(BaseModel):
    """How far references are changed; the defaults are those of ReF-LDM's released configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brightness: float = 0.2  # factors 0.8..1.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02  # of the full circle
    rotation: float = 2.0  # degrees
    shift: float = 0.05  # of the side
    scale: float = 0.05
    perspective: float = 0.2  # corners move inwards by up to this share of half the side, in every second picture
    flip_probability: float = 0.5


REFLDM = ReferenceAugmentation()

_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@torch.no_grad()
def augment_references(
    images: Tensor, generator: torch.Generator, augmentation: ReferenceAugmentation = REFLDM
) -> Tensor:
    """Jitter the colours, then move, distort and perhaps flip each picture by its own random amount.

    images [B, 3, H, W] in [-1, 1] -> the same shape and range, float32. What comes into view from outside is reflected.
    """
    with torch.autocast(images.device.type, enabled=False):
        draws = torch.rand(len(images), 18, generator=generator, device=generator.device).to(images.device)
        jittered = _jitter_colours((images.float() + 1) / 2, draws[:, :4], augmentation)
        height, width = images.shape[-2:]
        matrices = _homographies(draws[:, 4:], height, width, augmentation)
        warped = warp_perspective(jittered, matrices, (height, width), padding_mode="reflection")
        return warped.clamp(0, 1) * 2 - 1


def _jitter_colours(images: Tensor, draws: Tensor, augmentation: ReferenceAugmentation) -> Tensor:
    """images [B, 3, H, W] in [0, 1], draws [B, 4] in [0, 1).

    All four are linear in the colours, so that one matrix per picture does them; hue is turned in YIQ, where brightness
    stays as it is.
    """
    to_yiq = _RGB_TO_YIQ.to(draws)
    brightness, contrast, saturation, hue = (2 * draws - 1).unbind(1)  # [B] each, in -1..1
    angle = 2 * math.pi * augmentation.hue * hue
    along = (1 + augmentation.saturation * saturation) * angle.cos()
    across = (1 + augmentation.saturation * saturation) * angle.sin()
    one, zero = torch.ones_like(hue), torch.zeros_like(hue)
    rows = [[one, zero, zero], [zero, along, -across], [zero, across, along]]
    in_yiq = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # [B, 3, 3]
    brighter = (1 + augmentation.brightness * brightness).view(-1, 1, 1)
    steeper = (1 + augmentation.contrast * contrast).view(-1, 1, 1)
    matrices = brighter * steeper * torch.linalg.inv(to_yiq) @ in_yiq @ to_yiq
    grey = to_yiq[0] @ images.mean(dim=(2, 3)).mT  # [B]
    jittered = matrices @ images.flatten(2) + (1 - steeper) * brighter * grey.view(-1, 1, 1)
    return jittered.view_as(images).clamp(0, 1)


def _homographies(draws: Tensor, height: int, width: int, augmentation: ReferenceAugmentation) -> Tensor:
    """Matrices [B, 3, 3] from source to result pixels; draws [B, 14] in [0, 1)."""
    right, bottom = width - 1, height - 1
    corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=draws.dtype, device=draws.device)
    inwards = 1 - 2 * corners / corners[2]  # [4, 2]: +1 or -1
    size = corners[2] + 1
    distorted = (draws[:, 0] < 0.5).view(-1, 1, 1)
    moved = corners + distorted * augmentation.perspective / 2 * size * draws[:, 1:9].view(-1, 4, 2) * inwards

    angle = (2 * draws[:, 9] - 1) * math.radians(augmentation.rotation)
    scale = 1 + augmentation.scale * (2 * draws[:, 10] - 1)
    flip = torch.where(draws[:, 11] < augmentation.flip_probability, -1.0, 1.0)
    shift = augmentation.shift * (2 * draws[:, 12:14] - 1) * size
    rotation = scale.view(-1, 1, 1) * torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(
        -1, 2, 2
    )
    centre = corners[2] / 2
    centred = (moved - centre) @ rotation.mT * torch.stack([flip, torch.ones_like(flip)], 1)[:, None]
    targets = centred + centre + shift[:, None]
    return get_perspective_transform(corners.expand_as(targets).contiguous(), targets)
