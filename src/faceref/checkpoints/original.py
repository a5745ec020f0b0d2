"""Imports the checkpoints that the authors of ReF-LDM released (latent-diffusion layout) into our format."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from faceref.checkpoints.store import save_model
from faceref.checkpoints.unpickle import read_state_dict
from faceref.errors import CheckpointError
from faceref.files import check_new
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.settings import RELEASED

# Families that people have on disk, by a piece of a key that only they have; the first that fits is named.
_FAMILIES = {
    "transformer_blocks.": "a text-to-image diffusion model",
    "cross_adaLN_modulation.": "a whole model of LD-BFR (which is imported by itself)",
    "mid_Cross.": "the restoring VQGAN of LD-BFR (which is imported as a part of the whole model)",
    "model.diffusion_model.input_blocks.": "a latent-diffusion denoiser (refldm.ckpt, imported with vqgan.ckpt)",
    "quantize.embedding.weight": "a VQGAN autoencoder (vqgan.ckpt)",
    "encoder.down.0.block.0.": "a KL autoencoder",
    "position_emb": "CodeFormer",
    "stylegan_decoder.": "GFPGAN",
    "body.0.rdb1.": "Real-ESRGAN",
    "down_blocks.": "a diffusers model",
}

_COPIES = ("first_stage_model.", "cond_stage_model.")  # of the autoencoder, which is read from its own file
_IGNORED_VQGAN = ("loss.",)  # serves training only


@dataclass(frozen=True)
class ImportSummary:
    """What an import did; taken and ignored add up to all keys of the files."""

    folder: Path
    parameters: dict[str, int]  # by network
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
    check_new(Path(folder))
    denoiser, autoencoder = read_state_dict(refldm), read_state_dict(vqgan)
    check_family(refldm, denoiser, "model.diffusion_model.input_blocks.")
    check_family(vqgan, autoencoder, "quantize.embedding.weight")

    unet_weights, ema = denoiser_weights(refldm, denoiser, _COPIES)
    vae_weights = {key: tensor for key, tensor in autoencoder.items() if not key.startswith(_IGNORED_VQGAN)}
    check_needed(refldm, unet_weights, "input_blocks.0.0.weight", "out.2.weight")
    check_needed(vqgan, vae_weights, "encoder.conv_out.weight", "quantize.embedding.weight")
    unet = assemble(refldm, unet_weights, ReferenceUNet, *unet_layout(unet_weights))
    vae = assemble(vqgan, vae_weights, VQModel, *vqgan_layout(vae_weights))
    scheduler = read_scheduler(refldm, denoiser, "trailing")  # from the last timestep on, as the authors' script does
    info = ModelInfo(
        name=Path(folder).name,
        family="refldm",
        resolution=resolution,
        steps=RELEASED.steps,
        guidance=RELEASED.guidance,
        scheduler=RELEASED.scheduler,
        training_data="FFHQ, by the authors of ReF-LDM",
        licence="non-commercial research use only (ReF-LDM, https://github.com/ChiWeiHsiao/ref-ldm)",
    )
    save_model(ReFLDMPipeline(unet=unet, vae=vae, scheduler=scheduler), info, folder)
    taken = len(unet_weights) + len(vae_weights) + 1  # and the betas
    return ImportSummary(
        folder=Path(folder),
        parameters={"U-Net": unet.num_parameters(), "autoencoder": vae.num_parameters()},
        taken=taken,
        ignored=len(denoiser) + len(autoencoder) - taken,
        ema=ema,
    )


def check_family(path: PathLike, tensors: Mapping[str, Tensor], expected: str) -> None:
    """Raise CheckpointError if a checkpoint is not of the family with the marker `expected`, naming what it seems."""
    marker = next((marker for marker in _FAMILIES if any(marker in key for key in tensors)), None)
    if marker != expected:
        seems = (
            f"seems to be {_FAMILIES[marker]}" if marker else f"is of an unknown kind (keys like {next(iter(tensors))})"
        )
        raise CheckpointError(f"{seems}, but {_FAMILIES[expected]} is needed in its place", subject=path)
