"""Pictures to look at while training, and how good they are."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from faceref.faces.sharpness import sharpness
from faceref.models.identity import FaceRecogniser
from faceref.training.losses import identity_similarity

SHOWN = 8  # faces of a batch, in a contact sheet


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of faces under one another, the first SHOWN of each [N, 3, H, W] in [-1, 1], all of one size."""
    shown = [torch.cat(list(row[:SHOWN].detach().float().cpu()), dim=2) for row in rows]
    sheet = torch.cat(shown, dim=1)  # [3, rows * H, N * W]
    return Image.fromarray(_pixels(sheet))


def psnr(pictures: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The mean over pictures [B, 3, H, W] in [-1, 1] of what each one has, in dB.

    mask [B, 1, H, W]: 0 in padding, which does not count; nor does a picture of padding alone.
    """
    error = (pictures.float().clamp(-1, 1) - truth.float()).square().mean(1, keepdim=True)
    counted, squared = mask.sum(dim=(1, 2, 3)), (error * mask).sum(dim=(1, 2, 3))  # [B]
    own = counted > 0
    return (10 * (4 * counted[own] / squared[own]).log10()).mean().item()


def ssim(pictures: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The mean of pictures [B, 3, H, W] in [-1, 1]; where mask [B, 1, H, W] is 0 (padding) both are the truth."""
    pictures = torch.where(mask > 0, pictures, truth)
    return float(structural_similarity_index_measure(pictures, truth, data_range=(-1, 1)))  # type: ignore[arg-type]


def compare(
    restored: Mapping[str, Tensor], hq: Tensor, mask: Tensor, recogniser: FaceRecogniser | None
) -> dict[str, float]:
    """Means over pictures [B, 3, H, W] in [-1, 1], by name: PSNR (dB) and, with a recogniser, cosine of identities.

    mask [B, 1, H, W]: 0 in padding, which does not count.
    """
    metrics = {}
    for name, pictures in restored.items():
        metrics[f"psnr_{name}"] = psnr(pictures, hq, mask)
        if recogniser is not None:
            metrics[f"identity_{name}"] = identity_similarity(recogniser, pictures, hq, mask, None).mean().item()
    return metrics


def median_sharpness(pictures: Tensor) -> float:
    """Of the middles of pictures [B, 3, S, S] about [-1, 1], as `faceref.faces.sharpness` measures it."""
    side = pictures.shape[-1]
    middle = np.zeros((side, side), np.uint8)
    middle[side // 4 : 7 * side // 8, side // 5 : 4 * side // 5] = 1
    return float(np.median([sharpness(one, middle, side) for one in _pixels(pictures)]))


def _pixels(pictures: Tensor) -> np.ndarray:
    """Pictures [..., 3, H, W] about [-1, 1] -> uint8 [..., H, W, 3]."""
    levels = ((pictures.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.movedim(-3, -1).numpy()
