"""The architecture of dlib's face recognition network: King, dnn_face_recognition_ex.cpp (anet_type)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceref.models.warp import warp

CHIP_SIZE = 150  # pixels; what the network takes
# Where dlib cuts its chip out of an FFHQ-aligned face, on average, as shares of the face's side: with this side the
# denoiser that ships was trained; over 360 photographs of LFW, CFP and pins it is 0.688, with which the recogniser was.
CHIP_CENTRE, CHIP_SIDE = (0.505, 0.605), 0.694
MEAN_RGB = (122.782, 117.001, 104.298)  # what dlib subtracts before it divides by 256
# (channels, does the unit halve the resolution) of each residual unit from the input to the output
UNITS = (
    *[(32, False)] * 3,
    *[(64, True), *[(64, False)] * 3],
    *[(128, True), *[(128, False)] * 2],
    *[(256, True), *[(256, False)] * 2],
    (256, True),
)


class DlibResNet(nn.Module):
    """dlib_face_recognition_resnet_model_v1 with each affine layer folded into the convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        units, channels = [], 32
        for out, halves in UNITS:
            units.append(_Unit(channels, out, halves))
            channels = out
        self.units = nn.Sequential(*units)
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Face chips [B, 3, 150, 150], RGB in 0..255 -> embeddings [B, 128], not normalised."""
        mean = chips.new_tensor(MEAN_RGB).view(3, 1, 1)
        x = F.max_pool2d(self.stem((chips - mean) / 256).relu(), 3, stride=2)
        return self.fc(self.units(x).mean(dim=(2, 3)))


def chips_of_aligned(faces: Tensor, moves: Tensor | None = None) -> Tensor:
    """What the network takes of FFHQ-aligned faces [B, 3, S, S] in [-1, 1]: [B, 3, 150, 150] in 0..255, float32.

    moves [4, B]: by how many rad each is turned, and by which shares of the chip it is made larger and shifted across
    and down; None: not at all.
    """
    turn, larger, across, down = faces.new_zeros(4, len(faces), dtype=torch.float32) if moves is None else moves
    side = CHIP_SIDE * (1 + larger)
    cos, sin = side * turn.cos(), side * turn.sin()
    x, y = (2 * centre - 1 + CHIP_SIDE * 2 * shift for centre, shift in zip(CHIP_CENTRE, (across, down), strict=True))
    theta = torch.stack([torch.stack([cos, -sin, x], dim=1), torch.stack([sin, cos, y], dim=1)], dim=1)  # [B, 2, 3]
    return (warp(faces, theta, (CHIP_SIZE, CHIP_SIZE)) + 1) * 127.5


class _Unit(nn.Module):
    def __init__(self, channels: int, out: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        # dlib pads a convolution only where it has no stride
        self.conv1 = nn.Conv2d(channels, out, 3, 2, 0) if halves else nn.Conv2d(channels, out, 3, 1, 1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x).relu())
        shortcut = F.avg_pool2d(x, 2) if self.halves else x
        # dlib adds tensors of different shapes as if the smaller were continued with zeros
        sizes = [max(a, b) for a, b in zip(y.shape[1:], shortcut.shape[1:], strict=True)]
        return (_continued(y, sizes) + _continued(shortcut, sizes)).relu()


def _continued(x: Tensor, sizes: list[int]) -> Tensor:
    channels, height, width = (wanted - have for wanted, have in zip(sizes, x.shape[1:], strict=True))
    return F.pad(x, (0, width, 0, height, 0, channels))
