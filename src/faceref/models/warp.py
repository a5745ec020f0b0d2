"""Pictures turned, scaled and shifted."""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(pictures: Tensor, theta: Tensor, size: tuple[int, int], padding_mode: str = "border") -> Tensor:
    """Pictures [B, C, H, W] by affine maps [B, 2, 3], as `affine_grid` takes them -> float32 [B, C, *size].

    Under autocast, too: coordinates in bfloat16 miss by half a pixel of 256.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        grid = F.affine_grid(theta.float(), [len(pictures), 1, *size], align_corners=False)
        return F.grid_sample(pictures.float(), grid, padding_mode=padding_mode, align_corners=False)
