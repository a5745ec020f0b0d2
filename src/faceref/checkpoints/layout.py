"""The layout of latent-diffusion checkpoints (U-Net, VQGAN, noise schedule) in terms of our networks.

LD-BFR's injections are part of it: in the U-Net they lie beside the self-attention that they follow.
"""

import os
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any, Literal, TypeVar

import torch
from diffusers import DDIMScheduler, ModelMixin
from torch import Tensor

from faceref.checkpoints.unpickle import list_keys
from faceref.errors import CheckpointError

Model = TypeVar("Model", bound=ModelMixin)
PathLike = str | os.PathLike[str]

CHANNELS_PER_HEAD = 32  # from the released configurations: no tensor's shape tells the number of heads

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
_DOWN_INJECTION = {
    "cross_conv_1": "conv_1",
    "cross_norm_1": "norm",
    "cross_conv_2": "conv_2",
    "cross_norm": "attention.group_norm",
    "cross_qkv": "attention.to_qkv",
    "cross_proj_out": "attention.to_out.0",
}
_UP_INJECTION = {
    "cross_adaLN_modulation.1": "modulation",
    "cross_norm1": "norm_1",
    "cross_norm2": "norm_2",
    **{f"cross_attn.{name}": f"attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")},
    "cross_proj_out": "proj_out",
}

_DENOISER = "model.diffusion_model."
_EMA = "model_ema.diffusion_model"
# Buffers that follow from the betas or serve training only.
SCHEDULE = (
    "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    "logvar", "model_ema.decay", "model_ema.num_updates",
)  # fmt: skip


def denoiser_weights(
    path: PathLike, tensors: Mapping[str, Tensor], elsewhere: tuple[str, ...]
) -> tuple[dict[str, Tensor], bool]:
    """The denoiser's weights without their prefix, averaged ones if there are any (then True); all keys are known.

    elsewhere: beginnings of keys that are not the denoiser's, and that somebody else accounts for.
    """
    trained = {key.removeprefix(_DENOISER): key for key in tensors if key.startswith(_DENOISER)}
    averaged = {name: _EMA + name.replace(".", "") for name in trained}
    unknown = set(tensors) - set(trained.values()) - set(averaged.values()) - {"betas"}
    check_known(path, [key for key in unknown if not key.startswith((*SCHEDULE, *elsewhere))])
    ema = any(key.startswith(_EMA) for key in tensors)
    source = averaged if ema else trained
    missing = [key for key in source.values() if key not in tensors]
    if missing:
        raise CheckpointError(f"lacks averaged weights of the denoiser: {list_keys(missing)}", subject=path)
    return {name: tensors[key] for name, key in source.items()}, ema


def check_known(path: PathLike, unknown: Collection[str]) -> None:
    """Raise CheckpointError if there are keys that nobody accounts for."""
    if unknown:
        raise CheckpointError(f"holds keys that the model does not have: {list_keys(sorted(unknown))}", subject=path)


def check_needed(path: PathLike, weights: Mapping[str, Tensor], *needed: str) -> None:
    """Raise CheckpointError if keys are absent that the sizes are read from."""
    if absent := [key for key in needed if key not in weights]:
        raise CheckpointError(f"lacks keys of the model: {list_keys(absent)}", subject=path)


def read_scheduler(
    path: PathLike,
    tensors: Mapping[str, Tensor],
    timestep_spacing: Literal["leading", "trailing"],
    steps_offset: int = 0,
) -> DDIMScheduler:
    """DDIM with the betas of the checkpoint; spacing and offset of the timesteps as diffusers names them."""
    betas = tensors.get("betas", torch.zeros(1))  # none are not as this model's are
    scheduler = DDIMScheduler(
        num_train_timesteps=len(betas),
        beta_start=round(float(betas[0]), 6),
        beta_end=round(float(betas[-1]), 6),
        beta_schedule="scaled_linear",
        timestep_spacing=timestep_spacing,
        steps_offset=steps_offset,
        set_alpha_to_one=False,
        clip_sample=False,
    )
    if not betas.all() or not torch.allclose(scheduler.betas, betas.float(), rtol=1e-4):
        raise CheckpointError(
            'has no betas, or not ones that are "linear in the square root" as this model\'s are', subject=path
        )
    return scheduler


def unet_layout(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, str]]:
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
            attention = f"down_blocks.{level}.attentions.{layer}"
            modules |= _rename(f"{block}.1", attention, _ATTENTION)
            if f"{block}.1.cross_conv_1.weight" in weights:
                modules |= _rename(f"{block}.1", f"{attention}.processor.inject", _DOWN_INJECTION)
        layer += 1

    for up, with_attention in enumerate(reversed(has_attention)):
        for index in range(layer + 1):
            block = f"output_blocks.{up * (layer + 1) + index}"
            modules |= _rename(f"{block}.0", f"up_blocks.{up}.resnets.{index}", _RESNET)
            if with_attention:
                attention = f"up_blocks.{up}.attentions.{index}"
                modules |= _rename(f"{block}.1", attention, _ATTENTION)
                if f"{block}.1.cross_adaLN_modulation.1.weight" in weights:
                    modules |= _rename(f"{block}.1", f"{attention}.processor.inject", _UP_INJECTION)
        if up < level:
            modules[f"{block}.{2 if with_attention else 1}.conv"] = f"up_blocks.{up}.upsamplers.0.conv"

    config = {
        "in_channels": weights["input_blocks.0.0.weight"].shape[1],
        "out_channels": len(weights["out.2.weight"]),
        "block_out_channels": channels,
        "layers_per_block": layer,
        "down_block_types": ["AttnDownBlock2D" if has else "DownBlock2D" for has in has_attention],
        "up_block_types": ["AttnUpBlock2D" if has else "UpBlock2D" for has in reversed(has_attention)],
        "attention_head_dim": CHANNELS_PER_HEAD,
    }
    return config, modules


def vqgan_layout(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same for the autoencoder (taming-transformers naming; there is attention in the middle block)."""
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
    has_attention = [f"encoder.down.{level}.attn.0.q.weight" in weights for level in range(levels)]
    for level in range(levels):
        up = levels - 1 - level  # the decoder counts its levels from the finest, diffusers from the coarsest
        for layer in range(layers):
            there, here = f"encoder.down.{level}", f"encoder.down_blocks.{level}"
            modules |= _rename(f"{there}.block.{layer}", f"{here}.resnets.{layer}", _VQ_RESNET)
            if has_attention[level]:
                modules |= _rename(f"{there}.attn.{layer}", f"{here}.attentions.{layer}", _VQ_ATTENTION)
        for layer in range(layers + 1):
            there, here = f"decoder.up.{level}", f"decoder.up_blocks.{up}"
            modules |= _rename(f"{there}.block.{layer}", f"{here}.resnets.{layer}", _VQ_RESNET)
            if has_attention[level]:
                modules |= _rename(f"{there}.attn.{layer}", f"{here}.attentions.{layer}", _VQ_ATTENTION)
        if level < levels - 1:
            modules[f"encoder.down.{level}.downsample.conv"] = f"encoder.down_blocks.{level}.downsamplers.0.conv"
        if level > 0:
            modules[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{up}.upsamplers.0.conv"
    codebook_size, codebook_channels = weights["quantize.embedding.weight"].shape
    config = {
        "block_out_channels": [len(weights[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)],
        "layers_per_block": layers,
        "down_block_types": ["AttnDownEncoderBlock2D" if has else "DownEncoderBlock2D" for has in has_attention],
        "up_block_types": ["AttnUpDecoderBlock2D" if has else "UpDecoderBlock2D" for has in reversed(has_attention)],
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


def assemble(
    path: PathLike,
    weights: Mapping[str, Tensor],
    model_class: type[Model],
    config: dict[str, Any],
    modules: dict[str, str],
) -> Model:
    """A model with the weights in place; CheckpointError on any that is left over, missing or of another shape.

    And on sizes that the model's class does not take.
    """
    check_known(path, [name for name in weights if name.rpartition(".")[0] not in modules])
    try:
        with torch.device("meta"):
            model = model_class(**config)
    except ValueError as error:
        raise CheckpointError(f"has sizes that no such network has: {error}", subject=path) from error
    expected = model.state_dict()
    state_dict: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        ours = modules[module]
        if ours.endswith("to_qkv"):
            # An injection's are split before its heads (QKVAttention), which is a plain cut.
            parts = tensor.chunk(3) if ".inject." in ours else _split_qkv(tensor)
            here = {f"{ours.removesuffix('qkv')}{role}.{leaf}": part for role, part in zip("qkv", parts, strict=True)}
        else:
            here = {f"{ours}.{leaf}": tensor}
        for our_name, part in here.items():
            linear = our_name in expected and expected[our_name].ndim == 2
            state_dict[our_name] = part.flatten(1) if linear and part.ndim > 2 else part  # 1x1 convolution -> linear
    missing = sorted(name for name in expected if name not in state_dict)
    misshapen = sorted(
        name for name in set(expected) & set(state_dict) if expected[name].shape != state_dict[name].shape
    )
    if missing or misshapen:
        raise CheckpointError(
            f"lacks weights or has them in other shapes (diffusers' names): {list_keys(missing + misshapen)}",
            subject=path,
        )
    model.load_state_dict({name: tensor.float() for name, tensor in state_dict.items()}, assign=True)
    return model.eval()


def _split_qkv(tensor: Tensor) -> tuple[Tensor, ...]:
    """[3C, ...], head after head its q, k and v (QKVAttentionLegacy: heads before split) -> q, k, v [C, ...] each."""
    per_head = tensor.unflatten(0, (-1, 3, CHANNELS_PER_HEAD))  # [heads, 3, channels per head, ...]
    return tuple(part.flatten(0, 1).contiguous() for part in per_head.unbind(1))
