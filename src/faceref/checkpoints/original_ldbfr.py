"""Imports checkpoints in the layout of LD-BFR's released code (latent-diffusion, extended) into our format.

The code is released, weights were not when this was written; assumed is what the code saves. A Lightning checkpoint
("state_dict" beside other objects) of the diffusion model holds all networks:

    model.diffusion_model.*, model_ema.*   the denoiser and its moving average, injections beside self-attention
    first_stage_model.*                    the restoring VQGAN, its dual cross-attention as mid_Cross
    first_stage_model_gt.*                 the autoencoder of the latents
    betas and other buffers                the noise schedule

The code creates layers that it never uses; they are left. The number of heads and the resolution are in no tensor.
"""

from collections.abc import Mapping
from pathlib import Path

from diffusers import VQModel
from torch import Tensor

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.layout import (
    PathLike,
    assemble,
    check_needed,
    denoiser_weights,
    read_scheduler,
    unet_layout,
    vqgan_layout,
)
from faceref.checkpoints.original import ImportSummary, check_family
from faceref.checkpoints.store import save_model
from faceref.checkpoints.unpickle import read_state_dict
from faceref.files import check_new
from faceref.models.ldbfr import InjectedUNet, RestoringVQModel
from faceref.pipelines.ldbfr import LDBFRPipeline

HEADS = 8  # of the dual cross-attention
_RESTORING, _LATENT = "first_stage_model.", "first_stage_model_gt."
_INJECTION = ".cross_conv_1.weight"
_UNUSED = (".cross_resize.", ".cross_norm_2.", ".cross_ff.", "absolute_pos_embed")  # created by the code, never used


def import_ldbfr(checkpoint: PathLike, folder: PathLike, resolution: int = 256) -> ImportSummary:
    """Turn a checkpoint of LD-BFR's diffusion model into a model folder; sizes are deduced from the tensors.

    The moving average of the weights is taken if there is one. resolution: side of the restored pictures in pixels.

    Raises CheckpointError (damaged, another family, keys that are unknown or missing) or OutputError.
    """
    check_new(Path(folder))
    tensors = read_state_dict(checkpoint)
    check_family(checkpoint, tensors, "cross_adaLN_modulation.")
    denoiser, ema = denoiser_weights(checkpoint, tensors, (_RESTORING, _LATENT))
    unet_weights = {name: tensor for name, tensor in denoiser.items() if not any(part in name for part in _UNUSED)}
    vq_weights, vae_weights = (_part(tensors, prefix) for prefix in (_RESTORING, _LATENT))
    check_needed(checkpoint, unet_weights, "input_blocks.0.0.weight", "out.2.weight")
    check_needed(checkpoint, vq_weights, "encoder.conv_out.weight", "quantize.embedding.weight")
    check_needed(checkpoint, vae_weights, "encoder.conv_out.weight", "quantize.embedding.weight")

    vae_config, vae_modules = vqgan_layout(vae_weights)
    vq_config, vq_modules = vqgan_layout(vq_weights)
    unet_config, unet_modules = unet_layout(unet_weights)
    feature_channels: int = vq_config["vq_embed_dim"]
    unet_config["sample_size"] = resolution // 2 ** (len(vae_config["block_out_channels"]) - 1)
    unet_config["feature_channels"] = feature_channels
    first = next((name for name in unet_weights if name.endswith(_INJECTION)), f"input_blocks.*{_INJECTION}")
    check_needed(checkpoint, unet_weights, first)
    unet_config["feature_size"] = _feature_size(unet_weights[first], feature_channels, unet_config["sample_size"])
    vq_modules = {name: f"autoencoder.{ours}" for name, ours in vq_modules.items()}
    vq_modules |= {f"mid_Cross.{name}": f"attention.{name}" for name in ("q", "k", "v", "proj_out")}

    unet = assemble(checkpoint, unet_weights, InjectedUNet, unet_config, unet_modules)
    vq_config = {"autoencoder_config": {"_class_name": VQModel.__name__, **vq_config}, "heads": HEADS}
    vq = assemble(checkpoint, vq_weights, RestoringVQModel, vq_config, vq_modules)
    vae = assemble(checkpoint, vae_weights, VQModel, vae_config, vae_modules)
    info = ModelInfo(
        name=Path(folder).name,
        family="ldbfr",
        resolution=resolution,
        steps=200,  # of the released code's logs
        guidance=1,
        scheduler="ddim",
        training_data="imported from a checkpoint of LD-BFR",
        licence="that of the checkpoint",
    )
    # As the code samples: latent-diffusion's own DDIM begins a stride before the end and ends at timestep 1.
    scheduler = read_scheduler(checkpoint, tensors, "leading", steps_offset=1)
    save_model(LDBFRPipeline(vq, unet, vae, scheduler), info, folder)
    taken = len(unet_weights) + len(vq_weights) + len(vae_weights) + 1  # and the betas
    return ImportSummary(
        folder=Path(folder),
        parameters={
            "U-Net": unet.num_parameters(),
            "restoring VQGAN": vq.num_parameters(),
            "autoencoder": vae.num_parameters(),
        },
        taken=taken,
        ignored=len(tensors) - taken,
        ema=ema,
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _feature_size(weight: Tensor, channels: int, latent_size: int) -> int:
    """The side of the injected features, from how many channels the first injection's convolution finds of them.

    It is at downsampling 2; pixel shuffle has kept channels * side^2.
    """
    doubled, joined = weight.shape[:2]  # 2C, C + those of the features
    return round(latent_size // 2 * ((joined - doubled // 2) / channels) ** 0.5)
