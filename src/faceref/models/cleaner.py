"""The whole picture: what noise and compression have done to any photograph is taken away."""

from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from faceref.errors import CheckpointError
from faceref.models.loading import load_component
from faceref.models.upscaler import Upscaler

CLEANER = Path(str(resources.files("faceref"))) / "weights" / "cleaner"  # a folder
MACROBLOCK = 16  # pixels a side that JPEG stores together: tiles begin where these do
PATCH = 2  # the picture's pixels a side that are one place of the first level


class PictureCleaner(ModelMixin, ConfigMixin):
    """A small U-Net (Ronneberger et al. 2015) that predicts what is wrong with a picture (DnCNN, Zhang et al. 2017).

    Ours, beside both papers: it knows nothing of faces. Without normalisation, so that a pixel depends on what is
    around it alone and a picture can be cleaned in tiles.
    """

    @register_to_config
    def __init__(self, channels: tuple[int, ...] = (40, 56, 64), blocks: int = 2) -> None:
        """channels: of each level, the first at half the resolution; blocks: residual ones of each, on either side."""
        super().__init__()
        self.conv_in = nn.Conv2d(3 * PATCH**2, channels[0], 3, padding=1)
        down, up = [], []
        for above, below in pairwise(channels):
            down.append(nn.Sequential(*_blocks(above, blocks), nn.Conv2d(above, below, 2, stride=2)))
            up.append(nn.ConvTranspose2d(below, above, 2, stride=2))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(reversed(up))
        self.middle = nn.Sequential(*_blocks(channels[-1], 2 * blocks))
        self.after = nn.ModuleList(nn.Sequential(*_blocks(width, blocks)) for width in reversed(channels[:-1]))
        self.conv_out = nn.Conv2d(channels[0], 3 * PATCH**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(cast(Tensor, self.conv_out.bias))

    @property
    def multiple(self) -> int:
        """Of what a picture's sides have to be multiples, in pixels."""
        return PATCH * 2 ** len(self.down)

    def forward(self, picture: Tensor) -> Tensor:
        """A picture [B, 3, H, W] about [-1, 1], its sides multiples of `multiple` -> the same, cleaned."""
        x = self.conv_in(F.pixel_unshuffle(picture, PATCH))
        skipped: list[Tensor] = []
        for level in self.down:
            skipped.append(x)
            x = level(x)
        x = self.middle(x)
        for enlarge, level in zip(self.up, self.after, strict=True):
            x = level(enlarge(x) + skipped.pop())
        return picture + F.pixel_shuffle(self.conv_out(x), PATCH)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(x)))


def _blocks(channels: int, number: int) -> list[nn.Module]:
    return [_Block(channels) for _ in range(number)]


def load_cleaner(device: torch.device | str) -> Upscaler:
    """The cleaner that comes with faceref, as a background. Raises CheckpointError if it is damaged."""
    try:
        network = load_component(CLEANER, (PictureCleaner,), "cleaner")
    except CheckpointError as error:
        raise CheckpointError(error.reason, subject=CLEANER, hint="install faceref again") from error
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def clean(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        picture = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].to(device) * 2 - 1  # [1, 3, h, w]
        padding = (0, -width % network.multiple, 0, -height % network.multiple)
        with torch.inference_mode():
            cleaned = network(F.pad(picture, padding, "replicate"))[0, :, :height, :width]
        return ((cleaned + 1) / 2).cpu().numpy().transpose(1, 2, 0)

    return Upscaler("clean", 1, clean, tile=512, overlap=6 * MACROBLOCK, multiple=MACROBLOCK)
