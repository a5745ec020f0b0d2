"""ReF-LDM's sampling: from a low-quality face and reference photographs (tensors) to the restored face."""

import logging
import os
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, ImagePipelineOutput
from torch import Tensor

from faceref.models.autoencoder import AUTOENCODERS, Autoencoder
from faceref.models.fusion import PixelFusion
from faceref.models.ldbfr import InjectedReferenceUNet, RestoringVQModel
from faceref.models.mechanisms import REFERENCE_UNETS
from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet
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
    to_tensor,
)

logger = logging.getLogger(__name__)

References = Sequence[Images | ReferenceCache | None]  # per image of the batch; nothing or None: no references

# The classes that a model folder may name.
_KNOWN = {
    "unet": REFERENCE_UNETS,
    "vae": AUTOENCODERS,
    "vq": (RestoringVQModel,),
    "fusion": (PixelFusion,),
}


class ReFLDMPipeline(DiffusionPipeline):
    """Restores aligned faces by denoising in the autoencoder's latent space while attending to references."""

    _optional_components: ClassVar = ["vq", "fusion"]

    def __init__(
        self,
        unet: ReferenceUNet,
        vae: Autoencoder,
        scheduler: DDIMScheduler,
        vq: RestoringVQModel | None = None,
        fusion: PixelFusion | None = None,
    ) -> None:
        """vq: repairs the features that an `InjectedReferenceUNet`, and only that, is given of the LQ face.

        fusion: corrects the decoded face by the LQ face.
        """
        super().__init__()
        if isinstance(unet, InjectedReferenceUNet) != (vq is not None):
            raise ValueError("a U-Net with injections and a restoring VQ model need each other; give both or neither")
        self.register_modules(unet=unet, vae=vae, scheduler=scheduler, vq=vq, fusion=fusion)
        self._null: tuple[tuple, ReferenceCache] | None = None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], torch_dtype: torch.dtype = torch.float32) -> Self:
        """Load what `save_pretrained` wrote. Raises CheckpointError if the folder is not such a model."""
        return load_pipeline_folder(cls, folder, _KNOWN, torch_dtype, optional=cls._optional_components)

    @torch.no_grad()
    def __call__(
        self,
        lq: Images,
        references: References | ReferenceCache | None = None,
        *,
        guidance: float,
        steps: int,
        scheduler: SchedulerName = "ddim",
        generator: Generators | None = None,
        latents: Tensor | None = None,
        callback: Callback | None = None,
        output_type: OutputType = "pil",
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
        sampler = make_sampler(self.scheduler, scheduler, steps, self.unet.device)
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

        features = self._features(lq)
        if latents is None:
            latents = draw_noise(lq_latent.shape, generator, lq_latent.device)

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            sample = torch.cat([x.to(lq_latent.dtype), lq_latent], dim=1)
            prediction = self.unet(sample, timestep, cache, *features).sample.float()
            if null is None:
                return prediction
            without = self.unet(sample, timestep, null, *features).sample.float()
            return without + guidance * (prediction - without)

        x = denoise(sampler, latents.to(lq_latent.device), predict, callback)
        return ImagePipelineOutput(images=decode_output(self.vae, x, self.fusion, lq, output_type))  # type: ignore[arg-type]

    @torch.no_grad()
    def encode_references(self, images: Images, joint: bool = False) -> ReferenceCache:
        """The cache of one person's N >= 1 photographs, [N, 3, H, W] in [-1, 1] or pictures of one size.

        joint: encode them side by side as one strip (see PAPERS.md: quadratic in N; order then matters a little).
        """
        if joint:
            strip = torch.cat(list(to_tensor(images)), dim=2)[None]  # [1, 3, H, N * W]
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
        pixels = to_tensor(images).to(self.vae.device, self.vae.dtype)
        return self.vae.encode(pixels).latents.to(self.unet.dtype)

    def _features(self, lq: Images) -> tuple[Tensor, ...]:
        """q' [B, c, s, s] of the LQ faces for a U-Net that takes them, nothing for any other."""
        if self.vq is None:
            return ()
        pixels = to_tensor(lq).to(self.vq.device, self.vq.dtype)
        return (self.vq.features(pixels, self.unet.config.feature_size).to(self.unet.dtype),)
