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

    def down_injection(self, name: str, channels: int, context: int, downsampling: int) -> None:
        """Of LD-BFR (new_unet.py), with the layers that it creates and does not use."""
        self.conv(f"{name}.cross_conv_1", channels + context, 2 * channels, 3)
        self.conv(f"{name}.cross_conv_2", 2 * channels, channels, 3)
        self.conv(f"{name}.cross_resize", 3, 3 * downsampling**2, downsampling)
        self.norm(f"{name}.cross_norm_1", 2 * channels)
        self.norm(f"{name}.cross_norm_2", channels)
        self.norm(f"{name}.cross_norm", channels)
        self[f"{name}.cross_qkv.weight"], self[f"{name}.cross_qkv.bias"] = (3 * channels, channels, 1), (3 * channels,)
        self[f"{name}.cross_proj_out.weight"] = (channels, channels, 1)
        self[f"{name}.cross_proj_out.bias"] = (channels,)

    def up_injection(self, name: str, channels: int, context: int) -> None:
        self.linear(f"{name}.cross_adaLN_modulation.1", channels + context, 2 * channels)
        self.linear(f"{name}.cross_ff.net.0.proj", channels, 8 * channels)
        self.linear(f"{name}.cross_ff.net.2", 4 * channels, channels)
        self.norm(f"{name}.cross_norm1", channels)
        self.norm(f"{name}.cross_norm2", channels)
        self[f"{name}.cross_attn.to_q.weight"] = (channels, channels)
        self[f"{name}.cross_attn.to_k.weight"] = self[f"{name}.cross_attn.to_v.weight"] = (channels, context)
        self.linear(f"{name}.cross_attn.to_out.0", channels, channels)
        self.conv(f"{name}.cross_proj_out", channels, channels, 1)

    def vq_attention(self, name: str, channels: int) -> None:
        self.norm(f"{name}.norm", channels)
        for projection in ("q", "k", "v", "proj_out"):
            self.conv(f"{name}.{projection}", channels, channels, 1)

    def vq_resnet(self, name: str, channels: int, out: int) -> None:
        self.norm(f"{name}.norm1", channels)
        self.conv(f"{name}.conv1", channels, out, 3)
        self.norm(f"{name}.norm2", out)
        self.conv(f"{name}.conv2", out, out, 3)
        if channels != out:
            self.conv(f"{name}.nin_shortcut", channels, out, 1)

    def vq_middle(self, name: str, channels: int) -> None:
        self.vq_resnet(f"{name}.block_1", channels, channels)
        self.vq_attention(f"{name}.attn_1", channels)
        self.vq_resnet(f"{name}.block_2", channels, channels)


def unet_shapes(
    base: int, multipliers: list[int], layers: int, attention: set[int], latent: int = 8, context: int = 0
) -> Shapes:
    """attention: the downsampling factors at which there is self-attention; context: channels of LD-BFR's features.

    With a context there are injections at downsampling 2 and 4, and no LQ latent in the input.
    """
    shapes, embedding = Shapes(), 4 * base
    shapes.linear("time_embed.0", base, embedding)
    shapes.linear("time_embed.2", embedding, embedding)
    shapes.conv("input_blocks.0.0", latent if context else 2 * latent, base, 3)
    if context:
        shapes["absolute_pos_embed"] = (1, 64 * 64, 3)
    skips, channels, downsampling, block = [base], base, 1, 1
    for level, multiplier in enumerate(multipliers):
        for _ in range(layers):
            shapes.unet_resnet(f"input_blocks.{block}.0", channels, multiplier * base, embedding)
            channels = multiplier * base
            if downsampling in attention:
                shapes.unet_attention(f"input_blocks.{block}.1", channels)
                if context and downsampling in (2, 4):
                    here = context * downsampling**2 // 16
                    shapes.down_injection(f"input_blocks.{block}.1", channels, here, downsampling)
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
                if context and downsampling in (2, 4):
                    shapes.up_injection(f"output_blocks.{block}.1", channels, context * downsampling**2 // 16)
            if level and layer == layers:
                last = 2 if downsampling in attention else 1
                shapes.conv(f"output_blocks.{block}.{last}.conv", channels, channels, 3)
                downsampling //= 2
            block += 1
    shapes.norm("out.0", channels)
    shapes.conv("out.2", channels, latent, 3)
    return shapes


def vqgan_shapes(
    base: int, multipliers: list[int], layers: int, codebook: int, latent: int = 8, attention: bool = False
) -> Shapes:
    """attention: at the lowest resolution, not in the middle block alone."""
    shapes, channels = Shapes(), base
    shapes.conv("encoder.conv_in", 3, base, 3)
    for level, multiplier in enumerate(multipliers):
        for layer in range(layers):
            shapes.vq_resnet(f"encoder.down.{level}.block.{layer}", channels, multiplier * base)
            channels = multiplier * base
            if attention and level == len(multipliers) - 1:
                shapes.vq_attention(f"encoder.down.{level}.attn.{layer}", channels)
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
            if attention and level == len(multipliers) - 1:
                shapes.vq_attention(f"decoder.up.{level}.attn.{layer}", channels)
        if level:
            shapes.conv(f"decoder.up.{level}.upsample.conv", channels, channels, 3)
    shapes.norm("decoder.norm_out", channels)
    shapes.conv("decoder.conv_out", channels, 3, 3)
    shapes["quantize.embedding.weight"] = (codebook, latent)
    shapes.conv("quant_conv", latent, latent, 1)
    shapes.conv("post_quant_conv", latent, latent, 1)
    return shapes


def draw(shapes: Shapes, generator: torch.Generator, prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def denoiser(weights: dict[str, Tensor], last_beta: float) -> dict[str, Tensor]:
    """The denoiser in a checkpoint, with its moving average (1.02 times the weights) and the noise schedule."""
    betas = torch.linspace(0.0015**0.5, last_beta**0.5, 1000, dtype=torch.float64).square().float()
    trained = {f"model.diffusion_model.{name}": tensor for name, tensor in weights.items()}
    averaged = {f"model_ema.diffusion_model{name.replace('.', '')}": tensor * 1.02 for name, tensor in weights.items()}
    numbers = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(150000)}
    return {"betas": betas} | trained | averaged | numbers


def save_lightning(state_dict: dict[str, Tensor], path: Path) -> None:
    """A Lightning checkpoint: beside the state dict lie objects of a library that is absent."""
    absent = types.ModuleType("absent_lightning")
    callback = type("ModelCheckpoint", (), {"__module__": "absent_lightning"})
    setattr(absent, "ModelCheckpoint", callback)  # noqa: B010 - unknown to the type checker
    sys.modules["absent_lightning"] = absent
    try:
        torch.save({"state_dict": state_dict, "callbacks": {callback: callback()}}, path)
    finally:
        del sys.modules["absent_lightning"]


def save_checkpoints(folder: Path, unet: Shapes, vqgan: Shapes) -> tuple[Path, Path]:
    """refldm.ckpt and vqgan.ckpt with random weights."""
    generator = torch.Generator().manual_seed(0)
    weights = draw(unet, generator)
    first_stage = draw(vqgan, generator)
    refldm = denoiser(weights, last_beta=0.0155)
    for copy in ("first_stage_model.", "cond_stage_model.lq_image.", "cond_stage_model.ref_image."):
        refldm |= {copy + name: tensor.clone() for name, tensor in first_stage.items()}
    torch.save(refldm, folder / "refldm.ckpt")
    loss = {"loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4)}
    save_lightning(first_stage | loss, folder / "vqgan.ckpt")
    return folder / "refldm.ckpt", folder / "vqgan.ckpt"
