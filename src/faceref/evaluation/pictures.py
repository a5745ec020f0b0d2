"""Pictures of an evaluation: where they lie, and as tensors."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def as_file_name(label: str) -> str:
    """A label as sheets are called by it; no two of them may be alike, or one's files would be the other's."""
    return label.replace("/", "_").replace(" ", "_")


def picture_folder(set_name: str, model: str, condition: str) -> str:
    """Where below OUT/pictures the restorations of one condition lie."""
    return "/".join(part.replace("/", "_") for part in (set_name or "any", model or "controls", condition))


def picture_path(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".png")


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(pictures: Tensor) -> np.ndarray:
    """[B, 3, S, S] about [-1, 1] -> uint8 [B, S, S, 3]."""
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
