"""Pictures as ComfyUI hands them on, float tensors [B, H, W, C] in [0, 1], and as faceref takes them, PIL pictures."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_pictures(images: Tensor) -> list[Image.Image]:
    """IMAGE [B, H, W, 3 or 4] -> B pictures, RGB or RGBA."""
    pixels = (images.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return [Image.fromarray(one) for one in pixels]


def to_images(pictures: Sequence[Image.Image]) -> Tensor:
    """B pictures -> IMAGE [B, H, W, C], which has one size, the largest of theirs, and alpha for all or none."""
    size = max((one.size for one in pictures), key=math.prod)
    mode = "RGBA" if any(one.mode == "RGBA" for one in pictures) else "RGB"
    alike = [one.convert(mode).resize(size, Image.Resampling.LANCZOS) for one in pictures]
    return torch.from_numpy(np.stack([np.asarray(one) for one in alike]).astype(np.float32) / 255)
