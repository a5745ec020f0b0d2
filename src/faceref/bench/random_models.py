"""Models of released sizes with random weights: as slow and large as the real ones, which need not be here."""

import torch
from diffusers import DDIMScheduler, VQModel
from torch import nn

from faceref.checkpoints.info import ModelInfo
from faceref.checkpoints.store import place
from faceref.compute import DtypeName, Memory
from faceref.devices import best_device, check_device
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.settings import RELEASED
from faceref.precision import LayerSize, to_dtype

REFLDM = ModelInfo(
    name="refldm-512",
    family="refldm",
    resolution=512,
    steps=RELEASED.steps,
    guidance=RELEASED.guidance,
    scheduler=RELEASED.scheduler,
    training_data="none",
    licence="none",
)
_WIDTHS = (160, 320, 320, 640)  # of the denoiser's levels; each halves the 64 x 64 latents


def random_refldm(
    device: torch.device | str | None = "cpu",
    dtype: torch.dtype | DtypeName = torch.float32,
    memory: Memory = "normal",
    *,
    seed: int = 0,
) -> FacePipeline:
    """A model of the sizes of refldm.ckpt and vqgan.ckpt (PAPERS.md, "Released checkpoints").

    device, dtype, memory: see `faceref.compute.Compute`.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        unet = ReferenceUNet(
            sample_size=64,
            in_channels=16,
            out_channels=8,
            block_out_channels=_WIDTHS,
            layers_per_block=2,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=32,
        )
        vae = VQModel(
            block_out_channels=(128, 128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=8,
            num_vq_embeddings=8192,
        )
    scheduler = DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0155,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )
    device = best_device() if device is None else check_device(device)
    number_format = to_dtype(dtype, device, [LayerSize(width, 64 >> level) for level, width in enumerate(_WIDTHS)])
    for network in (unet, vae):
        nn.Module.to(network.eval(), number_format)  # diffusers' own would warn of layers to be kept: of none
    pipeline = ReFLDMPipeline(unet, vae, scheduler)  # type: ignore[arg-type]
    pipeline.defaults = RELEASED
    return place(pipeline, device, memory)
