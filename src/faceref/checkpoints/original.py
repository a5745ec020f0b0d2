"""Imports the checkpoints that the authors of ReF-LDM released (latent-diffusion layout) into our format."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DDIMScheduler, ModelMixin, VQModel
from torch import Tensor

from faceref.checkpoints.store import ModelInfo, save_model
from faceref.checkpoints.unpickle import list_keys, read_state_dict
from faceref.errors import CheckpointError
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

Model = TypeVar("Model", bound=ModelMixin)
PathLike = str | os.PathLike[str]

CHANNELS_PER_HEAD = 32  # from the released configuration: no tensor's shape tells the number of heads

# Families that people have on disk, by a piece of a key that only they have; the first that fits is named.
_FAMILIES = {
    "transformer_blocks.": "a text-to-image diffusion model",
    "model.diffusion_model.input_blocks.": "a latent-diffusion denoiser (refldm.ckpt)",
    "quantize.embedding.weight": "a VQGAN autoencoder (vqgan.ckpt)",
    "encoder.down.0.block.0.": "a KL autoencoder",
    "position_emb": "CodeFormer",
    "stylegan_decoder.": "GFPGAN",
    "body.0.rdb1.": "Real-ESRGAN",
    "down_blocks.": "a diffusers model",
}

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ATTENTION = {"norm": "group_norm", "qkv": "to_qkv", "proj_out": "to_out.0"}
_VQ_RESNET = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
_VQ_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}

_DENOISER = "model.diffusion_model."
_EMA = "model_ema.diffusion_model"
_SCHEDULE = (
    "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
)  # fmt: skip
# What need not be imported: it follows from the betas, is a copy of the autoencoder, or serves training only.
_IGNORED = (*_SCHEDULE, "logvar", "model_ema.decay", "model_ema.num_updates", "first_stage_model.", "cond_stage_model.")
_IGNORED_VQGAN = ("loss.",)


@dataclass(frozen=True)
class ImportSummary:
    """What an import did; counts of keys add up to all keys of both files."""

    folder: Path
    unet_parameters: int
    vae_parameters: int
    taken: int
    ignored: int
    ema: bool  # the moving average of the weights was there and was taken


def import_refldm(
    refldm: PathLike,
    vqgan: PathLike,
    folder: PathLike,
    resolution: int = 512,
) -> ImportSummary:
    """Turn the authors' `refldm.ckpt` and `vqgan.ckpt` into a model folder; sizes are deduced from the tensors.

    The moving average of the weights is taken if there is one (it is what the authors sample with). resolution: side of
    the square pictures in pixels; like the channels per head it is in no tensor and is the released model's by default.

    Raises CheckpointError (damaged, another family, keys that are unknown or missing) or OutputError.
    """
    denoiser, autoencoder = read_state_dict(refldm), read_state_dict(vqgan)
    _check_family(refldm, denoiser, "model.diffusion_model.input_blocks.")
    _check_family(vqgan, autoencoder, "quantize.embedding.weight")

    unet_weights, ema = _denoiser_weights(refldm, denoiser)
    vae_weights = {key: tensor for key, tensor in autoencoder.items() if not key.startswith(_IGNORED_VQGAN)}
    for path, weights, needed in (
        (refldm, unet_weights, ("input_blocks.0.0.weight", "out.2.weight")),
        (vqgan, vae_weights, ("encoder.conv_out.weight", "quantize.embedding.weight")),
    ):
        if absent := [key for key in needed if key not in weights]:  # the sizes are read from these
            raise CheckpointError(f"{path} lacks keys of the model: {list_keys(absent)}.")
    unet = _assemble(refldm, unet_weights, ReferenceUNet, *_unet_layout(unet_weights))
    vae = _assemble(vqgan, vae_weights, VQModel, *_vqgan_layout(vae_weights))
    scheduler = _scheduler(refldm, denoiser)
    info = ModelInfo(
        name=Path(folder).name,
        family="refldm",
        resolution=resolution,
        steps=50,
        guidance=1.5,
        scheduler="ddim",
        training_data="FFHQ, by the authors of ReF-LDM",
        licence="non-commercial research use only (ReF-LDM, https://github.com/ChiWeiHsiao/ref-ldm)",
    )
    save_model(ReFLDMPipeline(unet=unet, vae=vae, scheduler=scheduler), info, folder)
    taken = len(unet_weights) + len(vae_weights) + 1  # and the betas
    return ImportSummary(
        folder=Path(folder),
        unet_parameters=unet.num_parameters(),
        vae_parameters=vae.num_parameters(),
        taken=taken,
        ignored=len(denoiser) + len(autoencoder) - taken,
        ema=ema,
    )


def _check_family(path: PathLike, tensors: Mapping[str, Tensor], expected: str) -> None:
    marker = next((marker for marker in _FAMILIES if any(marker in key for key in tensors)), None)
    if marker != expected:
        seems = (
            f"seems to be {_FAMILIES[marker]}" if marker else f"is of an unknown kind (keys like {next(iter(tensors))})"
        )
        raise CheckpointError(f"{path} {seems}, but {_FAMILIES[expected]} is needed in its place.")


def _denoiser_weights(path: PathLike, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The denoiser's weights without their prefix, averaged ones if there are any (then True); all keys are known."""
    trained = {key.removeprefix(_DENOISER): key for key in tensors if key.startswith(_DENOISER)}
    averaged = {name: _EMA + name.replace(".", "") for name in trained}
    unknown = set(tensors) - set(trained.values()) - set(averaged.values()) - {"betas"}
    unknown = sorted(key for key in unknown if not key.startswith(_IGNORED))
    if unknown:
        raise CheckpointError(f"{path} holds keys that ReF-LDM does not have: {list_keys(unknown)}.")
    ema = any(key.startswith(_EMA) for key in tensors)
    source = averaged if ema else trained
    missing = [key for key in source.values() if key not in tensors]
    if missing:
        raise CheckpointError(f"{path} lacks averaged weights of the denoiser: {list_keys(missing)}.")
    return {name: tensors[key] for name, key in source.items()}, ema


def _scheduler(path: PathLike, tensors: Mapping[str, Tensor]) -> DDIMScheduler:
    """DDIM as the authors sample: the betas of the checkpoint, steps counted down from the last one ("trailing")."""
    betas = tensors.get("betas", torch.empty(0))
    scheduler = DDIMScheduler(
        num_train_timesteps=len(betas),
        beta_start=round(float(betas[0]), 6) if len(betas) else 0.0,
        beta_end=round(float(betas[-1]), 6) if len(betas) else 0.0,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        set_alpha_to_one=False,
        clip_sample=False,
    )
    if not len(betas) or not torch.allclose(scheduler.betas, betas.float(), rtol=1e-4):
        raise CheckpointError(
            f'{path} has no betas, or not ones that are "linear in the square root" as ReF-LDM\'s are.'
        )
    return scheduler


def _unet_layout(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, str]]:
    """Configuration of our U-Net, and the names of its modules by the original ones (latent-diffusion numbering)."""
    modules = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        **_rename("middle_block.0", "mid_block.resnets.0", _RESNET),
        **_rename("middle_block.1", "mid_block.attentions.0", _ATTENTION),
        **_rename("middle_block.2", "mid_block.resnets.1", _RESNET),
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    channels: list[int] = []
    has_attention: list[bool] = []
    level = layer = 0
    blocks = 1 + max((int(name.split(".")[1]) for name in weights if name.startswith("input_blocks.")), default=0)
    for block in (f"input_blocks.{number}" for number in range(1, blocks)):
        if f"{block}.0.op.weight" in weights:
            modules[f"{block}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            level, layer = level + 1, 0
            continue
        if layer == 0:
            channels.append(len(weights.get(f"{block}.0.out_layers.3.weight", ())))
            has_attention.append(f"{block}.1.qkv.weight" in weights)
        modules |= _rename(f"{block}.0", f"down_blocks.{level}.resnets.{layer}", _RESNET)
        if has_attention[level]:
            modules |= _rename(f"{block}.1", f"down_blocks.{level}.attentions.{layer}", _ATTENTION)
        layer += 1

    for up, attention in enumerate(reversed(has_attention)):
        for index in range(layer + 1):
            block = f"output_blocks.{up * (layer + 1) + index}"
            modules |= _rename(f"{block}.0", f"up_blocks.{up}.resnets.{index}", _RESNET)
            if attention:
                modules |= _rename(f"{block}.1", f"up_blocks.{up}.attentions.{index}", _ATTENTION)
        if up < level:
            modules[f"{block}.{2 if attention else 1}.conv"] = f"up_blocks.{up}.upsamplers.0.conv"

    config = {
        "in_channels": weights["input_blocks.0.0.weight"].shape[1],
        "out_channels": len(weights["out.2.weight"]),
        "block_out_channels": channels,
        "layers_per_block": layer,
        "down_block_types": ["AttnDownBlock2D" if attention else "DownBlock2D" for attention in has_attention],
        "up_block_types": ["AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(has_attention)],
        "attention_head_dim": CHANNELS_PER_HEAD,
    }
    return config, modules


def _vqgan_layout(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same for the autoencoder (taming-transformers naming; attention in the middle block only)."""
    modules = {
        "quant_conv": "quant_conv",
        "post_quant_conv": "post_quant_conv",
        "quantize.embedding": "quantize.embedding",
    }
    for half in ("encoder", "decoder"):
        modules |= {f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "conv_out")}
        modules |= {f"{half}.norm_out": f"{half}.conv_norm_out"}
        modules |= _rename(f"{half}.mid.block_1", f"{half}.mid_block.resnets.0", _VQ_RESNET)
        modules |= _rename(f"{half}.mid.attn_1", f"{half}.mid_block.attentions.0", _VQ_ATTENTION)
        modules |= _rename(f"{half}.mid.block_2", f"{half}.mid_block.resnets.1", _VQ_RESNET)
    levels = _count(weights, "encoder.down.{}.block.0.conv1.weight")
    layers = _count(weights, "encoder.down.0.block.{}.conv1.weight")
    for level in range(levels):
        up = levels - 1 - level  # the decoder counts its levels from the finest, diffusers from the coarsest
        for layer in range(layers):
            modules |= _rename(
                f"encoder.down.{level}.block.{layer}", f"encoder.down_blocks.{level}.resnets.{layer}", _VQ_RESNET
            )
        for layer in range(layers + 1):
            modules |= _rename(
                f"decoder.up.{level}.block.{layer}", f"decoder.up_blocks.{up}.resnets.{layer}", _VQ_RESNET
            )
        if level < levels - 1:
            modules[f"encoder.down.{level}.downsample.conv"] = f"encoder.down_blocks.{level}.downsamplers.0.conv"
        if level > 0:
            modules[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{up}.upsamplers.0.conv"
    codebook_size, codebook_channels = weights["quantize.embedding.weight"].shape
    config = {
        "block_out_channels": [len(weights[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)],
        "layers_per_block": layers,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": weights["encoder.conv_out.weight"].shape[0],
        "num_vq_embeddings": codebook_size,
        "vq_embed_dim": codebook_channels,
        "scaling_factor": 1.0,
    }
    return config, modules


def _rename(original: str, ours: str, names: Mapping[str, str]) -> dict[str, str]:
    return {f"{original}.{name}": f"{ours}.{our_name}" for name, our_name in names.items()}


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), ... there are."""
    return next(number for number in count() if pattern.format(number) not in weights)


def _assemble(
    path: PathLike,
    weights: Mapping[str, Tensor],
    model_class: type[Model],
    config: dict[str, Any],
    modules: dict[str, str],
) -> Model:
    """A model with the weights in place; CheckpointError on any that is left over, missing or of another shape."""
    unknown = sorted(name for name in weights if name.rpartition(".")[0] not in modules)
    if unknown:
        raise CheckpointError(f"{path} holds keys that ReF-LDM does not have: {list_keys(unknown)}.")
    state_dict: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        ours = modules[module]
        if ".attentions." in ours and leaf == "weight":
            tensor = tensor.flatten(1) if tensor.ndim > 1 else tensor  # 1x1 convolution -> linear
        if ours.endswith("to_qkv"):
            for role, part in zip("qkv", _split_qkv(tensor), strict=True):
                state_dict[f"{ours.removesuffix('qkv')}{role}.{leaf}"] = part
        else:
            state_dict[f"{ours}.{leaf}"] = tensor
    with torch.device("meta"):
        model = model_class(**config)
    expected = model.state_dict()
    missing = sorted(name for name in expected if name not in state_dict)
    misshapen = sorted(
        name for name in set(expected) & set(state_dict) if expected[name].shape != state_dict[name].shape
    )
    if missing or misshapen:
        raise CheckpointError(
            f"{path} lacks weights or has them in other shapes (diffusers' names): {list_keys(missing + misshapen)}."
        )
    model.load_state_dict({name: tensor.float() for name, tensor in state_dict.items()}, assign=True)
    return model.eval()


def _split_qkv(tensor: Tensor) -> tuple[Tensor, ...]:
    """[3C, ...], head after head its q, k and v (QKVAttentionLegacy: heads before split) -> q, k, v [C, ...] each."""
    per_head = tensor.unflatten(0, (-1, 3, CHANNELS_PER_HEAD))  # [heads, 3, channels per head, ...]
    return tuple(part.flatten(0, 1).contiguous() for part in per_head.unbind(1))
