"""Pictures to look at while training, and how good they are."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceref.faces.sharpness import sharpness
from faceref.models.identity import FaceRecogniser


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of faces under one another: each [N, 3, H, W] in [-1, 1], all of one size."""
    sheet = torch.cat(
        [torch.cat(list(row.detach().float().cpu()), dim=2) for row in rows], dim=1
    )  # [3, rows * H, N * W]
    return Image.fromarray(_pixels(sheet))


def psnr(pictures: Tensor, truth: Tensor) -> float:
    """The mean over pictures [B, 3, H, W] in [-1, 1] of what each one has, in dB."""
    each = peak_signal_noise_ratio(pictures, truth, data_range=(-1, 1), reduction="none", dim=(1, 2, 3))  # [B]
    return each.mean().item()


def compare(name: str, restored: Tensor, hq: Tensor, recogniser: FaceRecogniser | None) -> dict[str, float]:
    """Means over pictures [B, 3, H, W] in [-1, 1]: PSNR (dB) and, with a recogniser, cosine of identities."""
    metrics = {f"psnr_{name}": psnr(restored, hq)}
    if recogniser is not None:
        similarity = F.cosine_similarity(recogniser.embed(restored), recogniser.embed(hq))
        metrics[f"identity_{name}"] = similarity.mean().item()
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
