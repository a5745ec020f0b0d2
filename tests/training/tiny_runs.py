"""Configurations of runs that take seconds."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.identity import MobileFaceNet
from faceref.models.ldbfr import RestoringVQModel
from faceref.training.config import LoopConfig, OptimizerConfig
from faceref.training.stages.configs import (
    CrispConfig,
    DiffusionConfig,
    EndToEndConfig,
    LDBFRConfig,
    RestoringVQConfig,
    VQGANConfig,
)

UNET: dict[str, Any] = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": [32, 32],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 16,
}


def tiny_vqgan(photographs: Path, steps: int, **loop) -> VQGANConfig:
    """An autoencoder of a few thousand parameters, with its discriminator from the third step on."""
    return VQGANConfig.model_validate(
        {
            "stage": "vqgan",
            "data": {
                "root": str(photographs),
                "sources": [{"root": "faces"}],
                "validation": [{"root": "faces"}],
                "resolution": 32,
                "references": 0,
            },
            "autoencoder": {"kind": "pixel_unshuffle", "arguments": {"base_channels": 32}},
            "weights": {"perceptual": 0.0, "adversarial_from": 2},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2, "final_ratio": 0.1},
            "loop": {"steps": steps, "batch_size": 3, "precision": "no", "validate_every": 1000, "log_every": 1} | loop,
        }
    )


def tiny_refldm(photographs: Path, folder: Path, steps: int) -> DiffusionConfig:
    """A U-Net of a few thousand parameters with references and the identity loss; its frozen networks lie in folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PixelUnshuffleVQModel(base_channels=32).save_pretrained(folder / "vae")
        save_file(MobileFaceNet().state_dict(), folder / "recogniser.safetensors")
    config = tiny_vqgan(photographs, steps, validate_every=2, validation_samples=2)
    return DiffusionConfig.model_validate(
        {
            "stage": "refldm",
            "data": config.data.model_dump() | {"references": 2},
            "autoencoder": folder / "vae",
            "recogniser": folder / "recogniser.safetensors",
            "unet": UNET,
            "model": {"name": "tiny", "training_data": "none", "licence": "none", "steps": 1},
            "optimizer": config.optimizer,
            "loop": config.loop,
        }
    )


def digest(folder: Path) -> str:
    unet = folder / "model" / "unet"
    tensors = load_file((unet if unet.is_dir() else folder / "model") / "diffusion_pytorch_model.safetensors")
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def same_weights(one: Path, other: Path) -> bool:
    """Whether two folders hold the same network, to the bit."""
    weights, others = (load_file(folder / "diffusion_pytorch_model.safetensors") for folder in (one, other))
    return all(torch.equal(weights[name], others[name]) for name in weights | others)


RATE = 1e-3


def _data(photographs: Path, **settings) -> dict:
    source = [{"root": "faces"}]
    data = {"root": photographs, "sources": source, "validation": source, "resolution": 64, "references": 0}
    return data | settings


def _loop(steps: int, **settings) -> LoopConfig:
    loop = {"steps": steps, "batch_size": 2, "precision": "no", "validate_every": 2, "validation_samples": 2}
    return LoopConfig.model_validate(loop | {"ema_decay": 0.0} | settings)


def tiny_restoring(photographs: Path, folder: Path, steps: int, **settings) -> RestoringVQConfig:
    """Stage 1 on an untrained autoencoder of a few thousand parameters, with its discriminator from the second step."""
    return RestoringVQConfig.model_validate(
        {
            "stage": "restoring_vq",
            "data": _data(photographs),
            "autoencoder": save_autoencoder(folder / "first", patch_size=8, latent_channels=16, quantize=True),
            "weights": {"perceptual": 0.0, "adversarial_from": 1},
            "optimizer": OptimizerConfig(learning_rate=RATE),
            "loop": _loop(steps),
        }
        | settings
    )


def tiny_ldbfr(photographs: Path, folder: Path, steps: int, **settings) -> LDBFRConfig:
    """Stage 2 on untrained networks of a few thousand parameters: latents 4x16x16, features 16x8x8."""
    RestoringVQModel(
        {"_class_name": "PixelUnshuffleVQModel", "patch_size": 8, "base_channels": 32, "latent_channels": 16}, heads=2
    ).save_pretrained(folder / "restoring")
    return LDBFRConfig.model_validate(
        {
            "stage": "ldbfr",
            "data": _data(photographs),
            "autoencoder": save_autoencoder(folder / "second"),
            "restoring": folder / "restoring",
            "unet": UNET | {"sample_size": 16, "in_channels": 4, "feature_channels": 16, "feature_size": 8},
            "model": {"name": "tiny", "training_data": "none", "licence": "none", "steps": 1, "guidance": 1},
            "optimizer": OptimizerConfig(learning_rate=RATE),
            "loop": _loop(steps),
        }
        | settings
    )


# A decoder for faces of 128 px of a model of 64 px.
DECODER: dict[str, Any] = {"latent_channels": 4, "channels": (32, 16, 8, 8), "residual_blocks": (1, 0, 0, 0)}


def tiny_end_to_end(photographs: Path, model: Path, **settings) -> EndToEndConfig:
    """Two steps on a trained model, which is given a decoder if it has none."""
    decoder = {} if (model / "detail").is_dir() else {"detail": DECODER}
    return EndToEndConfig.model_validate(_drawing("end_to_end", photographs, model, 2) | decoder | settings)


def tiny_crisp(
    photographs: Path, model: Path, steps: int = 2, loop: dict[str, Any] | None = None, **settings
) -> CrispConfig:
    """A textured decoder for a trained model, with its discriminator from the first step."""
    weights = {"perceptual": 0.0, "adversarial": 0.1, "adversarial_from": 0}
    tree = _drawing("crisp", photographs, model, steps, **(loop or {}))
    tree |= {"detail": DECODER | {"textured": True}, "weights": weights, "discriminator_channels": 16, "judged": 64}
    return CrispConfig.model_validate(tree | settings)


def _drawing(stage: str, photographs: Path, model: Path, steps: int, **loop) -> dict[str, Any]:
    return {
        "stage": stage,
        "data": _data(photographs, resolution=128, references=1),
        "model": model,
        "weights": {},
        "optimizer": OptimizerConfig(learning_rate=RATE),
        "loop": _loop(steps, **loop),
    }


def items_of(pictures: int = 4) -> dict[str, torch.Tensor]:
    """Samples of 128 px, of which every second has references, and every fourth is no example of detail."""
    drawn = torch.randint(256, (pictures, 3, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    return {
        "hq": drawn[:, 0],
        "mask": torch.full((pictures, 1, 128, 128), 255, dtype=torch.uint8),
        "references": drawn[:, 1:],
        "has_references": torch.arange(pictures) % 2 == 0,
        "coarse": torch.arange(pictures) % 4 == 3,
    }


def save_autoencoder(folder: Path, **settings) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PixelUnshuffleVQModel(base_channels=32, codebook_size=16, **settings).save_pretrained(folder)
    return folder
