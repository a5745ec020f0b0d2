"""Augmentation of the references in training: each one a little different in colour, pose and side (ReF-LDM)."""

import math

import torch
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from faceref.pictures.colour import LUMINANCE


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
    perspective: float = 0.2  # corners move inwards by up to this share of half the side
    perspective_probability: float = 1.0
    flip_probability: float = 0.5


REFLDM = ReferenceAugmentation()


class TargetAugmentation(BaseModel):
    """How targets are changed before they are degraded (ours).

    misaligned: share of those that are moved as a face is whose landmarks were found on a bad picture; toned: share of
    those that are grey or brown, as their LQ pictures then are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    misaligned: float = 0.0
    rotation: float = 3.0  # degrees
    shift: float = 0.03  # of the side
    scale: float = 0.05
    toned: float = 0.0


UNCHANGED = TargetAugmentation()
_SEPIA = torch.tensor([1.08, 1.0, 0.82])

_RGB_TO_YIQ = torch.tensor([LUMINANCE, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@torch.no_grad()
def augment_references(
    images: Tensor, generator: torch.Generator, augmentation: ReferenceAugmentation = REFLDM
) -> Tensor:
    """Jitter the colours, then move, distort and perhaps flip each picture by its own random amount.

    images [B, 3, H, W] in [-1, 1] -> the same shape and range, float32. What comes into view from outside is reflected;
    the released code (torchvision) has it black.
    """
    with torch.autocast(images.device.type, enabled=False):
        draws = torch.rand(len(images), 18, generator=generator, device=generator.device).to(images.device)
        jittered = _jitter_colours((images.float() + 1) / 2, draws[:, :4], augmentation)
        height, width = images.shape[-2:]
        matrices = _homographies(draws[:, 4:], height, width, augmentation)
        warped = warp_perspective(jittered, matrices, (height, width), padding_mode="reflection")
        return warped.clamp(0, 1) * 2 - 1


@torch.no_grad()
def augment_targets(
    images: Tensor, masks: Tensor, generator: torch.Generator, augmentation: TargetAugmentation
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets [B, 3, H, W] in [-1, 1] and their masks [B, 1, H, W] -> both changed, and which were moved [B].

    What was moved is a little softer than it was. What comes into view from outside is no part of the photograph.
    """
    if augmentation == UNCHANGED:
        return images, masks, torch.zeros(len(images), dtype=torch.bool, device=images.device)
    with torch.autocast(images.device.type, enabled=False):
        draws = torch.rand(len(images), 17, generator=generator, device=generator.device).to(images.device)
        height, width = images.shape[-2:]
        only_moved = ReferenceAugmentation(
            rotation=augmentation.rotation,
            shift=augmentation.shift,
            scale=augmentation.scale,
            perspective=0.0,
            flip_probability=0.0,
        )
        matrices = _homographies(draws[:, 3:], height, width, only_moved)
        moved = draws[:, 0] < augmentation.misaligned
        chosen = moved.view(-1, 1, 1, 1)
        warped = warp_perspective(images, matrices, (height, width), "bicubic", padding_mode="reflection").clamp(-1, 1)
        warped_masks = warp_perspective(masks, matrices, (height, width), padding_mode="zeros")
        images = torch.where(chosen, warped, images)
        masks = torch.where(chosen, (warped_masks > 0.99).to(masks.dtype), masks)
        toned = (draws[:, 1] < augmentation.toned).view(-1, 1, 1, 1)
        tone = torch.where((draws[:, 2] < 0.5)[:, None], _SEPIA.to(images.device), 1.0)[:, :, None, None]
        grey = torch.einsum("c,bchw->bhw", _RGB_TO_YIQ[0].to(images), (images + 1) / 2)[:, None]
        return torch.where(toned, (grey * tone).clamp(0, 1) * 2 - 1, images), masks, moved


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
    distorted = (draws[:, 0] < augmentation.perspective_probability).view(-1, 1, 1)
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
