"""Face recognisers: networks whose embedding says who somebody is; for the identity and perceptual losses and IDS.

Each owns its crop of an FFHQ-aligned face and its normalisation. Weights come from the user's file:
`faceref.models.recogniser_files.load_face_recogniser`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ARCFACE_BOX = (0.0625, 0.9375)  # of an FFHQ-aligned face, across and down, shares of its side: ReF-LDM's released code


class FaceRecogniser(nn.Module, ABC):
    """A frozen network from aligned faces to embeddings; gradients flow to the faces, not to the weights."""

    embedding_size: int

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode: batch statistics must not move when a module that holds a recogniser is trained."""
        return super().train(False)

    def embed(self, faces: Tensor) -> Tensor:
        """FFHQ-aligned faces [B, 3, S, S], RGB in [-1, 1] -> unit vectors [B, D]; their dot product is the cosine.

        Computed in float32 whatever autocast says: the loss is a small difference of cosines.
        """
        with torch.autocast(faces.device.type, enabled=False):
            return F.normalize(self(self.crop(faces.float())))

    def identity_features(self, faces: Tensor) -> list[Tensor]:
        """Feature maps [B, C, H, W] of whole pictures [B, 3, S, S] in [-1, 1], finest first, for a perceptual loss.

        Neither cropped nor resized, so that hair, background and the finest detail count as well.
        """
        with torch.autocast(faces.device.type, enabled=False):
            return self.feature_maps(faces.float())

    @abstractmethod
    def crop(self, faces: Tensor) -> Tensor:
        """FFHQ-aligned faces [B, 3, S, S] -> what the network was trained on, [B, 3, H, W]."""

    @abstractmethod
    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        """Outputs of the convolutional stages for pictures [B, 3, H, W], finest first."""


def feature_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """[B]: LPIPS (Zhang et al. 2018) without learned weights, on a network's feature maps [B, C, H, W] of two pictures.

    Squared distance of the channels, brought to unit length at each place; averaged over places, summed over maps.
    """
    pairs = zip(features, others, strict=True)
    return torch.stack([(F.normalize(a) - F.normalize(b)).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)


class MobileFaceNet(FaceRecogniser):
    """MobileFaceNet (Chen et al. 2018, arXiv 1804.07573) for 112 x 96 crops; names as MobileFaceNet_Pytorch."""

    embedding_size = 128

    def __init__(self):
        super().__init__()
        self.conv1 = _conv(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = _conv(64, 64, 3, padding=1, groups=64)
        blocks = []
        channels = 64
        # Table 1 of the paper: expansion, channels, repeats, stride of the first
        for expansion, out, repeats, stride in (
            (2, 64, 5, 2),
            (4, 128, 1, 2),
            (2, 128, 6, 1),
            (4, 128, 1, 2),
            (2, 128, 2, 1),
        ):
            for i in range(repeats):
                blocks.append(_Bottleneck(channels, out, expansion * channels, stride if i == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = _conv(128, 512, 1)
        self.linear7 = _conv(512, 512, (7, 6), groups=512, activation=False)
        self.linear1 = _conv(512, 128, 1, activation=False)

    def crop(self, faces: Tensor) -> Tensor:
        size = faces.shape[-1]  # the box that was measured to suit these weights and FFHQ's alignment
        rows = _resize_matrix(0.109 * size, 0.890 * size, size, 112).to(faces)
        columns = _resize_matrix(0.165 * size, 0.836 * size, size, 96).to(faces)
        return rows @ faces @ columns.T

    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        half = self.dw_conv1(self.conv1(pictures))
        quarter = self.blocks[:5](half)
        eighth = self.blocks[5:12](quarter)
        return [half, quarter, eighth, self.blocks[12:](eighth)]

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [B, 3, 112, 96] in [-1, 1] -> embeddings [B, 128], not normalised."""
        deepest = self.feature_maps(crops)[-1]
        return self.linear1(self.linear7(self.conv2(deepest))).flatten(1)


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, out: int, hidden: int, stride: int):
        super().__init__()
        self.skip = stride == 1 and channels == out
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skip else self.conv(x)


class IResNet(FaceRecogniser):
    """ArcFace's improved ResNet (Deng et al. 2019, arXiv 1801.07698) for 112 x 112 crops; names as insightface's.

    depths are the blocks of each of the four layers: (2, 2, 2, 2) is IResNet-18, (3, 4, 6, 3) 34, (3, 4, 14, 3) 50,
    (3, 13, 30, 3) 100.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        widths: tuple[int, ...] = (64, 128, 256, 512),
        embedding_size: int = 512,
    ):
        super().__init__()
        self.embedding_size = embedding_size
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.prelu = nn.PReLU(widths[0])
        inputs = (widths[0], *widths)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                *(_ResidualBlock(inputs[i] if j == 0 else widths[i], widths[i], 2 if j == 0 else 1) for j in range(n))
            )
            for i, n in enumerate(depths)
        )
        self.bn2 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3] * 7 * 7, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)

    def crop(self, faces: Tensor) -> Tensor:
        low, high = (round(faces.shape[-1] * share) for share in ARCFACE_BOX)
        return F.interpolate(faces[..., low:high, low:high], size=(112, 112), mode="area")

    def feature_maps(self, pictures: Tensor) -> list[Tensor]:
        maps = [self.prelu(self.bn1(self.conv1(pictures)))]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [B, 3, 112, 112] in [-1, 1] -> embeddings [B, embedding_size], not normalised."""
        deepest = self.feature_maps(crops)[-1]  # [B, C, 7, 7]
        return self.features(self.fc(self.bn2(deepest).flatten(1)))


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.prelu = nn.PReLU(out)
        self.conv2 = nn.Conv2d(out, out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return residual + self.downsample(x)


def _conv(
    channels: int, out: int, kernel: int | tuple[int, int], stride=1, padding=0, groups=1, activation=True
) -> nn.Module:
    block = nn.Sequential()
    block.add_module("conv", nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False))
    block.add_module("bn", nn.BatchNorm2d(out))
    if activation:
        block.add_module("prelu", nn.PReLU(out))
    return block


def _resize_matrix(low: float, high: float, size: int, out: int) -> Tensor:
    """Matrix [out, size] that resizes the interval low..high of `size` samples: a triangle filter, as Pillow's."""
    scale = (high - low) / out
    centres = low + (torch.arange(out) + 0.5) * scale
    distance = (torch.arange(size) + 0.5 - centres[:, None]).abs() / max(scale, 1.0)
    weights = (1 - distance).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)
