"""Sizes and builders of the tiny networks with random weights that tests share."""

from typing import Any

import torch

from faceref.checkpoints.info import ModelInfo
from faceref.models.unet import ReferenceUNet

# A U-Net on latents of 4 channels with attention on its coarser level only.
UNET: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
}
# The one in a whole model of 64 px.
MODEL_UNET: dict[str, Any] = UNET | {"sample_size": 16, "block_out_channels": (32, 32), "attention_head_dim": 16}


def reference_unet(**settings: Any) -> ReferenceUNet:
    """One with `UNET`, but for `settings`; the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ReferenceUNet(**(UNET | settings)).eval()


def model_info(**settings: Any) -> ModelInfo:
    """What a tiny model says of itself: of the family refldm, for faces of 64 px, but for `settings`."""
    said: dict[str, Any] = {"family": "refldm", "resolution": 64, "steps": 2, "guidance": 1.5, "scheduler": "ddim"}
    said |= {"training_data": "none", "licence": "none"} | settings
    return ModelInfo(**said)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
