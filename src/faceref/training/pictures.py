"""Pictures to look at while training, and how good they are."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from faceref.models.identity import FaceRecogniser


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of faces under one another: each [N, 3, H, W] in [-1, 1], all of one size."""
    # [3, rows * H, N * W]
    sheet = torch.cat(
        [torch.cat(list(row.detach().float().cpu()), dim=2) for row in rows], dim=1
    )  # [3, rows * H, N * W]
    pixels = ((sheet.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def compare(name: str, restored: Tensor, hq: Tensor, recogniser: FaceRecogniser | None) -> dict[str, float]:
    """PSNR (dB) and, with a recogniser, mean cosine of identities of pictures [B, 3, H, W] in [-1, 1]."""
    metrics = {f"psnr_{name}": peak_signal_noise_ratio(restored, hq, data_range=(-1, 1)).item()}
    if recogniser is not None:
        similarity = F.cosine_similarity(recogniser.embed(restored), recogniser.embed(hq))
        metrics[f"identity_{name}"] = similarity.mean().item()
    return metrics


def sharpness(pictures: Tensor) -> Tensor:
    """Variance of the Laplacian of the middle of pictures [B, 3, H, W] in [-1, 1], in levels of 255: [B]."""
    grey = 127.5 * pictures.clamp(-1, 1).mean(dim=1, keepdim=True)
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    height, width = grey.shape[-2:]
    middle = F.conv2d(grey, kernel)[..., height // 4 : 7 * height // 8, width // 5 : 4 * width // 5]
    return middle.var((1, 2, 3))
