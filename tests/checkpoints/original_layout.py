"""Random checkpoints in the layout of the released ones, written from the original programs' constructors.

Names and shapes follow UNetModel of latent-diffusion (openaimodel.py) and Encoder / Decoder of taming-transformers
(diffusionmodules/model.py); nothing here comes from faceref's own import.
"""

import sys
import types
from pathlib import Path

import torch
from torch import Tensor


class Shapes(dict[str, tuple[int, ...]]):
    """Parameter shapes by name, with the original programs' building blocks."""

    def conv(self, name: str, channels: int, out: int, kernel: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (out, channels, kernel, kernel), (out,)

    def linear(self, name: str, channels: int, out: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (out, channels), (out,)

    def norm(self, name: str, channels: int) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = (channels,), (channels,)

    def unet_resnet(self, name: str, channels: int, out: int, embedding: int) -> None:
        self.norm(f"{name}.in_layers.0", channels)
        self.conv(f"{name}.in_layers.2", channels, out, 3)
        self.linear(f"{name}.emb_layers.1", embedding, out)
        self.norm(f"{name}.out_layers.0", out)
        self.conv(f"{name}.out_layers.3", out, out, 3)
        if channels != out:
            self.conv(f"{name}.skip_connection", channels, out, 1)

    def unet_attention(self, name: str, channels: int) -> None:
        self.norm(f"{name}.norm", channels)
        self[f"{name}.qkv.weight"], self[f"{name}.qkv.bias"] = (3 * channels, channels, 1), (3 * channels,)
        self[f"{name}.proj_out.weight"], self[f"{name}.proj_out.bias"] = (channels, channels, 1), (channels,)

    def vq_resnet(self, name: str, channels: int, out: int) -> None:
        self.norm(f"{name}.norm1", channels)
        self.conv(f"{name}.conv1", channels, out, 3)
        self.norm(f"{name}.norm2", out)
        self.conv(f"{name}.conv2", out, out, 3)
        if channels != out:
            self.conv(f"{name}.nin_shortcut", channels, out, 1)

    def vq_middle(self, name: str, channels: int) -> None:
        self.vq_resnet(f"{name}.block_1", channels, channels)
        self.norm(f"{name}.attn_1.norm", channels)
        for projection in ("q", "k", "v", "proj_out"):
            self.conv(f"{name}.attn_1.{projection}", channels, channels, 1)
        self.vq_resnet(f"{name}.block_2", channels, channels)


def unet_shapes(base: int, multipliers: list[int], layers: int, attention: set[int], latent: int = 8) -> Shapes:
    """attention: the downsampling factors at which there is self-attention."""
    shapes, embedding = Shapes(), 4 * base
    shapes.linear("time_embed.0", base, embedding)
    shapes.linear("time_embed.2", embedding, embedding)
    shapes.conv("input_blocks.0.0", 2 * latent, base, 3)
    skips, channels, downsampling, block = [base], base, 1, 1
    for level, multiplier in enumerate(multipliers):
        for _ in range(layers):
            shapes.unet_resnet(f"input_blocks.{block}.0", channels, multiplier * base, embedding)
            channels = multiplier * base
            if downsampling in attention:
                shapes.unet_attention(f"input_blocks.{block}.1", channels)
            skips.append(channels)
            block += 1
        if level < len(multipliers) - 1:
            shapes.conv(f"input_blocks.{block}.0.op", channels, channels, 3)
            skips.append(channels)
            block, downsampling = block + 1, downsampling * 2
    shapes.unet_resnet("middle_block.0", channels, channels, embedding)
    shapes.unet_attention("middle_block.1", channels)
    shapes.unet_resnet("middle_block.2", channels, channels, embedding)
    block = 0
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for layer in range(layers + 1):
            shapes.unet_resnet(f"output_blocks.{block}.0", channels + skips.pop(), multiplier * base, embedding)
            channels = multiplier * base
            if downsampling in attention:
                shapes.unet_attention(f"output_blocks.{block}.1", channels)
            if level and layer == layers:
                last = 2 if downsampling in attention else 1
                shapes.conv(f"output_blocks.{block}.{last}.conv", channels, channels, 3)
                downsampling //= 2
            block += 1
    shapes.norm("out.0", channels)
    shapes.conv("out.2", channels, latent, 3)
    return shapes


def vqgan_shapes(base: int, multipliers: list[int], layers: int, codebook: int, latent: int = 8) -> Shapes:
    shapes, channels = Shapes(), base
    shapes.conv("encoder.conv_in", 3, base, 3)
    for level, multiplier in enumerate(multipliers):
        for layer in range(layers):
            shapes.vq_resnet(f"encoder.down.{level}.block.{layer}", channels, multiplier * base)
            channels = multiplier * base
        if level < len(multipliers) - 1:
            shapes.conv(f"encoder.down.{level}.downsample.conv", channels, channels, 3)
    shapes.vq_middle("encoder.mid", channels)
    shapes.norm("encoder.norm_out", channels)
    shapes.conv("encoder.conv_out", channels, latent, 3)
    shapes.conv("decoder.conv_in", latent, channels, 3)
    shapes.vq_middle("decoder.mid", channels)
    for level, multiplier in reversed(list(enumerate(multipliers))):
        for layer in range(layers + 1):
            shapes.vq_resnet(f"decoder.up.{level}.block.{layer}", channels, multiplier * base)
            channels = multiplier * base
        if level:
            shapes.conv(f"decoder.up.{level}.upsample.conv", channels, channels, 3)
    shapes.norm("decoder.norm_out", channels)
    shapes.conv("decoder.conv_out", channels, 3, 3)
    shapes["quantize.embedding.weight"] = (codebook, latent)
    shapes.conv("quant_conv", latent, latent, 1)
    shapes.conv("post_quant_conv", latent, latent, 1)
    return shapes


def save_checkpoints(folder: Path, unet: Shapes, vqgan: Shapes, seed: int = 0) -> tuple[Path, Path]:
    """refldm.ckpt and vqgan.ckpt with random weights; beside the latter's lie objects of an absent library."""
    generator = torch.Generator().manual_seed(seed)

    def draw(shapes: Shapes, prefix: str = "") -> dict[str, Tensor]:
        return {prefix + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    weights = draw(unet)
    first_stage = draw(vqgan)
    refldm = {"betas": torch.linspace(0.0015**0.5, 0.0155**0.5, 1000, dtype=torch.float64).square().float()}
    refldm |= {f"model.diffusion_model.{name}": tensor for name, tensor in weights.items()}
    refldm |= {f"model_ema.diffusion_model{name.replace('.', '')}": tensor * 1.02 for name, tensor in weights.items()}
    refldm |= {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(150000)}
    for copy in ("first_stage_model.", "cond_stage_model.lq_image.", "cond_stage_model.ref_image."):
        refldm |= {copy + name: tensor.clone() for name, tensor in first_stage.items()}
    torch.save(refldm, folder / "refldm.ckpt")

    absent = types.ModuleType("absent_lightning")
    callback = type("ModelCheckpoint", (), {"__module__": "absent_lightning"})
    setattr(absent, "ModelCheckpoint", callback)  # noqa: B010 - unknown to the type checker
    sys.modules["absent_lightning"] = absent
    try:
        loss = {"loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4)}
        torch.save({"state_dict": first_stage | loss, "callbacks": {callback: callback()}}, folder / "vqgan.ckpt")
    finally:
        del sys.modules["absent_lightning"]
    return folder / "refldm.ckpt", folder / "vqgan.ckpt"
