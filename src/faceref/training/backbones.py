"""ImageNet backbones whose feature maps the perceptual loss compares."""

from torch import Tensor, nn

from faceref.errors import UsageError


class TimmFeatures(nn.Module):
    """A backbone of timm's (an optional dependency): pictures [B, 3, H, W] in [-1, 1] -> feature maps, finest first."""

    def __init__(self, name: str):
        """name: timm's. Raises UsageError if timm is not installed or does not know the name."""
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
