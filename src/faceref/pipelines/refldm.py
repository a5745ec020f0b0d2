"""ReF-LDM's sampling: from a low-quality face and reference photographs (tensors) to the restored face."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    ImagePipelineOutput,
    UniPCMultistepScheduler,
    VQModel,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL.Image import Image
from torch import Tensor

from faceref.errors import CheckpointError, UsageError
from faceref.models.autoencoder import Autoencoder, PixelUnshuffleVQModel
from faceref.models.mechanisms import MECHANISMS
from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet

logger = logging.getLogger(__name__)

SchedulerName = Literal["ddim", "dpmsolver++", "unipc"]
SCHEDULERS = {"ddim": DDIMScheduler, "dpmsolver++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}

Images = Tensor | Sequence[Image]  # [N, 3, H, W] in [-1, 1], or N pictures of one size
References = Sequence[Images | ReferenceCache | None]  # per image of the batch; nothing or None: no references


# The classes that a model folder may name.
_UNETS = {unet.__name__: unet for unet in MECHANISMS.values()}
_AUTOENCODERS = {"VQModel": VQModel, "PixelUnshuffleVQModel": PixelUnshuffleVQModel}


class ReFLDMPipeline(DiffusionPipeline):
    """Restores aligned faces by denoising in the autoencoder's latent space while attending to references."""

    def __init__(self, unet: ReferenceUNet, vae: Autoencoder, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, vae=vae, scheduler=scheduler)
        self._null: tuple[tuple, ReferenceCache] | None = None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], torch_dtype: torch.dtype = torch.float32) -> Self:
        """Load what `save_pretrained` wrote.

        Unlike diffusers' own it reads only folders and safetensors, and only ever makes the classes named above: a
        model_index.json cannot have other code imported. Raises CheckpointError if the folder is not such a model.
        """
        try:
            index = json.loads((Path(folder) / "model_index.json").read_bytes())
            unet, vae = _UNETS[index["unet"][1]], _AUTOENCODERS[index["vae"][1]]
            options = {"torch_dtype": torch_dtype, "use_safetensors": True, "local_files_only": True}
            return cls(
                unet=unet.from_pretrained(folder, subfolder="unet", **options),
                vae=vae.from_pretrained(folder, subfolder="vae", **options),
                scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True),  # type: ignore[arg-type]
            )
        except KeyError as error:
            raise CheckpointError(f"The model {folder} has a component that faceref does not know: {error}.") from error
        except Exception as error:  # whatever a damaged folder makes of the readers of json, safetensors and diffusers
            reason = str(error).partition("\n")[0]
            raise CheckpointError(
                f"The model {folder} cannot be loaded ({reason}); import or download it again."
            ) from error

    @torch.no_grad()
    def __call__(
        self,
        lq: Images,
        references: References | ReferenceCache | None = None,
        *,
        guidance: float,
        steps: int,
        scheduler: SchedulerName = "ddim",
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        callback: Callable[[int, Tensor], None] | None = None,
        output_type: Literal["pil", "pt", "latent"] = "pil",
        joint_reference_encoding: bool = False,
    ) -> ImagePipelineOutput:
        """Restore a batch of B aligned faces.

        lq: low-quality faces, [B, 3, H, W] in [-1, 1] or B pictures.
        references: for each face its reference photographs or a cache of them, or one cache for all B.
        guidance: scale s of classifier-free guidance towards the references, eps(null) + s (eps(ref) - eps(null)).
        steps: denoising steps, 1 to the number of training timesteps.
        generator: draws the starting noise; one per face makes a face's result independent of its neighbours'.
        latents: the starting noise itself, [B, C, h, w].
        callback: called with (step, latents) after each step, counted from 1; an exception in it ends the restoration.
        output_type: "pil" pictures, "pt" tensor [B, 3, H, W] about [-1, 1] (not clipped), "latent" [B, C, h, w].
        joint_reference_encoding: encode a face's references side by side as one strip, as the released script does.

        Raises UsageError for an impossible number of steps or an unknown scheduler, ValueError for shapes that do not
        fit or if neither generator nor latents are given.
        """
        sampler = self._make_sampler(scheduler, steps)
        lq_latent = self._encode(lq)  # [B, C, h, w]
        if isinstance(references, ReferenceCache):
            cache = references.to(lq_latent.device, self.unet.dtype)
            cache = cache.expand(len(lq_latent)) if cache.batch_size == 1 else cache
        else:
            cache = self._cache_batch(references or [None] * len(lq_latent), joint_reference_encoding)
        if cache is None:
            logger.warning("No reference photographs: restoring from the low-quality picture alone.")
        elif cache.batch_size != len(lq_latent):
            raise ValueError(f"references for {cache.batch_size} faces were given with {len(lq_latent)} faces")
        null = None
        if cache is not None and guidance != 1:
            counts = cache.counts.sum(dim=1, keepdim=True)  # [B, 1]: as many zero references as there are real ones
            null = self._null_cache(lq_latent).expand(len(lq_latent)).with_multiplicity(counts)

        if latents is None:
            if generator is None or (isinstance(generator, list) and len(generator) != len(lq_latent)):
                raise ValueError("give a generator (or one per face), or the starting noise as latents")
            latents = randn_tensor(tuple(lq_latent.shape), generator, lq_latent.device, torch.float32)
        # The sampler's arithmetic stays in float32 whatever the network's precision.
        x = latents.to(lq_latent.device, torch.float32) * sampler.init_noise_sigma
        for step, timestep in enumerate(sampler.timesteps, start=1):
            sample = torch.cat([sampler.scale_model_input(x, timestep).to(lq_latent.dtype), lq_latent], dim=1)
            prediction = self.unet(sample, timestep, cache).sample.float()
            if null is not None:
                without = self.unet(sample, timestep, null).sample.float()
                prediction = without + guidance * (prediction - without)
            x = sampler.step(prediction, timestep, x).prev_sample
            if callback is not None:
                callback(step, x)

        if output_type == "latent":
            return ImagePipelineOutput(images=x)
        images = self.vae.decode(x.to(self.vae.dtype)).sample.float()  # quantises first
        if output_type == "pt":
            return ImagePipelineOutput(images=images)
        return ImagePipelineOutput(images=VaeImageProcessor().postprocess(images))  # type: ignore[arg-type]

    @torch.no_grad()
    def encode_references(self, images: Images, joint: bool = False) -> ReferenceCache:
        """The cache of one person's N >= 1 photographs, [N, 3, H, W] in [-1, 1] or pictures of one size.

        joint: encode them side by side as one strip (see PAPERS.md: quadratic in N; order then matters a little).
        """
        if joint:
            strip = torch.cat(list(_to_tensor(images)), dim=2)[None]  # [1, 3, H, N * W]
            latents = torch.cat(self._encode(strip).chunk(len(images), dim=3))  # [N, C, h, w]
        else:
            latents = self._encode(images)
        return self.unet.encode_references(latents[None])

    def _cache_batch(self, references: References, joint: bool) -> ReferenceCache | None:
        """One cache for all faces, None if no face has a reference."""
        caches = []
        for entry in references:
            if isinstance(entry, ReferenceCache):
                caches.append(entry.to(self.unet.device, self.unet.dtype))
            else:
                caches.append(None if entry is None or len(entry) == 0 else self.encode_references(entry, joint))
        return ReferenceCache.batch(caches) if any(cache is not None for cache in caches) else None

    def _null_cache(self, latents: Tensor) -> ReferenceCache:
        """The cache of one zero latent ("no reference"), computed once for given weights and latent shape."""
        sums = torch.stack([weight.detach().sum() for weight in self.unet.parameters()])
        key = (tuple(sums.tolist()), latents.shape[1:], latents.device, latents.dtype)
        null = self._null  # read once: another thread may replace it meanwhile
        if null is None or null[0] != key:
            null = (key, self.unet.encode_references(torch.zeros_like(latents[:1, None])))
            self._null = null
        return null[1]

    def _encode(self, images: Images) -> Tensor:
        """Pictures -> latents [B, C, h, w] before quantisation, unscaled, as the U-Net takes them."""
        pixels = _to_tensor(images).to(self.vae.device, self.vae.dtype)
        return self.vae.encode(pixels).latents.to(self.unet.dtype)

    def _make_sampler(self, name: SchedulerName, steps: int) -> Any:
        """A sampler of this call's own (samplers hold state) with the noise schedule of the model."""
        if name not in SCHEDULERS:
            raise UsageError(f"There is no scheduler {name!r}; choose one of {', '.join(get_args(SchedulerName))}.")
        timesteps = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= timesteps:
            raise UsageError(f"{steps} denoising steps are not possible; choose 1 to {timesteps}.")
        sampler = SCHEDULERS[name].from_config(self.scheduler.config)
        sampler.set_timesteps(steps, device=self.unet.device)
        return sampler


def _to_tensor(images: Images) -> Tensor:
    """Pictures of one size -> [N, 3, H, W] in [-1, 1]; tensors as they are."""
    if isinstance(images, Tensor):
        return images
    return VaeImageProcessor(do_resize=False, do_convert_rgb=True).preprocess(list(images))
