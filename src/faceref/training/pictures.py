"""Pictures to look at while training."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor


def contact_sheet(rows: Sequence[Tensor]) -> Image.Image:
    """Rows of faces under one another: each [N, 3, H, W] in [-1, 1], all of one size."""
    # [3, rows * H, N * W]
    sheet = torch.cat(
        [torch.cat(list(row.detach().float().cpu()), dim=2) for row in rows], dim=1
    )  # [3, rows * H, N * W]
    pixels = ((sheet.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
