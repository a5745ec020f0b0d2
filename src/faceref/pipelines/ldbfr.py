"""LD-BFR's sampling: from a low-quality face (tensors), without references, to the restored face."""

import os
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from PIL.Image import Image
from torch import Tensor

from faceref.models.autoencoder import AUTOENCODERS, Autoencoder
from faceref.models.fusion import PixelFusion
from faceref.models.ldbfr import InjectedUNet, RestoringVQModel
from faceref.pipelines.loading import load_pipeline_folder
from faceref.pipelines.sampling import (
    Callback,
    Generators,
    Images,
    OutputType,
    SchedulerName,
    decode_output,
    denoise,
    draw_noise,
    make_sampler,
    to_output,
    to_tensor,
)

# The classes that a model folder may name.
_KNOWN = {
    "vq": (RestoringVQModel,),
    "unet": (InjectedUNet,),
    "vae": AUTOENCODERS,
    "fusion": (PixelFusion,),
}


@dataclass
class LDBFROutput(BaseOutput):
    """images: the restored faces; stage1: those of the vector-quantised restoration alone, if they were asked for."""

    images: Tensor | list[Image]
    stage1: Tensor | list[Image] | None = None


class LDBFRPipeline(DiffusionPipeline):
    """Restores aligned faces: vq repairs features of the LQ face, which guide the denoising of vae's latents."""

    _optional_components: ClassVar = ["fusion"]

    def __init__(
        self,
        vq: RestoringVQModel,
        unet: InjectedUNet,
        vae: Autoencoder,
        scheduler: DDIMScheduler,
        fusion: PixelFusion | None = None,
    ) -> None:
        """fusion: corrects the decoded face by the LQ face."""
        super().__init__()
        self.register_modules(vq=vq, unet=unet, vae=vae, scheduler=scheduler, fusion=fusion)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], torch_dtype: torch.dtype = torch.float32) -> Self:
        """Load what `save_pretrained` wrote. Raises CheckpointError if the folder is not such a model."""
        return load_pipeline_folder(cls, folder, _KNOWN, torch_dtype, optional=cls._optional_components)

    @torch.no_grad()
    def __call__(
        self,
        lq: Images,
        *,
        steps: int,
        scheduler: SchedulerName = "ddim",
        generator: Generators | None = None,
        latents: Tensor | None = None,
        callback: Callback | None = None,
        output_type: OutputType = "pil",
        return_stage1: bool = False,
    ) -> LDBFROutput:
        """Restore a batch of B aligned faces.

        lq: low-quality faces, [B, 3, H, H] in [-1, 1] or B pictures.
        steps: denoising steps, 1 to the number of training timesteps.
        generator: draws the starting noise; one per face makes a face's result independent of its neighbours'.
        latents: the starting noise itself, [B, C, h, w].
        callback: called with (step, latents) after each step, counted from 1; an exception in it ends the restoration.
        output_type: "pil" pictures, "pt" tensor [B, 3, H, H] about [-1, 1] (not clipped), "latent" [B, C, h, w].
        return_stage1: also give what stage 1 restores by itself, of the size of `lq`; for "latent" its features q'.

        Raises UsageError for an impossible number of steps or an unknown scheduler, ValueError if neither generator
        nor latents are given.
        """
        sampler = make_sampler(self.scheduler, scheduler, steps, self.unet.device)
        pixels = to_tensor(lq).to(self.vq.device, self.vq.dtype)  # [B, 3, H, H]
        config = self.unet.config
        features = self.vq.features(pixels, config.feature_size)  # q' [B, c, s, s]
        injected = features.to(self.unet.dtype)
        if latents is None:
            shape = (len(pixels), config.in_channels, config.sample_size, config.sample_size)
            latents = draw_noise(shape, generator, self.unet.device)

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            return self.unet(x.to(self.unet.dtype), timestep, injected).sample

        x = denoise(sampler, latents.to(self.unet.device), predict, callback)
        stage1 = self._stage1(features, pixels.shape[-1], output_type) if return_stage1 else None
        return LDBFROutput(decode_output(self.vae, x, self.fusion, lq, output_type), stage1)

    def _stage1(self, features: Tensor, side: int, output_type: OutputType) -> Tensor | list[Image]:
        """What the vector-quantised restoration makes of its features, [B, 3, side, side]."""
        if output_type == "latent":
            return features
        images = self.vq.decode(features).float()  # CPUs do not resize in half precision
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        return to_output(images, output_type)
