"""ReF-LDM's sampling: from a low-quality face and reference photographs (tensors) to the restored face."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from diffusers.schedulers import SchedulerMixin
from torch import Tensor

from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS, Autoencoder, encode
from faceref.models.cuda_graphs import Evaluation, Graphs
from faceref.models.detail_decoder import DetailDecoder
from faceref.models.fusion import PixelFusion
from faceref.models.identity_encoder import IdentityEncoder
from faceref.models.ldbfr import RestoringVQModel
from faceref.models.loading import weights_fingerprint
from faceref.models.mechanisms import REFERENCE_UNETS
from faceref.models.reference import Encoder, ReferenceCache
from faceref.models.strips import encode_in_strips
from faceref.models.texture import remember_texture
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.protocol import ALWAYS, FacePipeline, Predict, References
from faceref.pipelines.sampling import Images, to_tensor

logger = logging.getLogger(__name__)


class ReFLDMPipeline(FacePipeline):
    """Restores aligned faces by denoising in the autoencoder's latent space while attending to references."""

    takes_references = True
    known: ClassVar = {
        "unet": REFERENCE_UNETS,
        "vae": AUTOENCODERS,
        "vq": (RestoringVQModel,),
        "fusion": (PixelFusion,),
        "detail": (DetailDecoder,),
        "identity_encoder": (IdentityEncoder,),
    }
    _optional_components: ClassVar = ["vq", "fusion", "detail", "identity_encoder"]

    unet: ReferenceUNet
    vq: RestoringVQModel | None
    identity_encoder: IdentityEncoder | None = None

    def __init__(
        self,
        unet: ReferenceUNet,
        vae: Autoencoder,
        scheduler: SchedulerMixin,
        vq: RestoringVQModel | None = None,
        fusion: PixelFusion | None = None,
        detail: DetailDecoder | None = None,
        identity_encoder: IdentityEncoder | None = None,
    ) -> None:
        """vq: repairs the features that an `InjectedReferenceUNet`, and only that, is given of the LQ face.

        fusion: corrects the decoded face by the LQ face. detail: takes its place and draws the face larger; all faces
        are given at the size that it draws. identity_encoder: tells a U-Net with an `identity_size`, and only that, who
        the references show.
        """
        super().__init__()
        if ("feature_size" in unet.config) != (vq is not None):
            raise ValueError("a U-Net with injections and a restoring VQ model need each other; give both or neither")
        if (unet.config.get("identity_size") is not None) != (identity_encoder is not None):
            raise ValueError("a U-Net with an identity_size and an identity encoder need each other")
        self.register_modules(
            unet=unet,
            vae=vae,
            scheduler=scheduler,
            vq=vq,
            fusion=fusion,
            detail=detail,
            identity_encoder=identity_encoder,
        )
        self._null: tuple[tuple, ReferenceCache] | None = None
        self._graphs = Graphs()

    @cached_property
    def fingerprint(self) -> str:
        """Of the networks that encode references, as they were when first asked."""
        return weights_fingerprint(*(one for one in (self.unet, self.vae, self.identity_encoder) if one is not None))

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """As `FacePipeline.enable_sequential_cpu_offload`."""
        _ = self.fingerprint  # it reads weights, which then are nowhere to be read
        super().enable_sequential_cpu_offload(gpu_id, device)

    @torch.no_grad()
    def encode_references(self, images: Images, joint: bool = False) -> ReferenceCache:
        """As `FacePipeline.encode_references`.

        joint: encode them side by side as one strip, as the released script does (see PAPERS.md: quadratic in N; order
        then matters a little).
        """
        pictures = to_tensor(images)
        pixels = self.shrink(pictures)
        if joint:
            strip = torch.cat(list(pixels), dim=2)[None]  # [1, 3, H, N * W]
            latents = torch.cat(self._encode(strip).chunk(len(pixels), dim=3))  # [N, C, h, w]
        else:
            latents = self._encode(pixels)
        identities = self.identities(pictures)
        told = () if identities is None else (None, identities[None])
        with self._turn:
            cache = self.unet.encode_references(latents[None], *told)
        texture = remember_texture(pictures[None].to(self.execution_device)) if self.is_textured else None
        return replace(cache, encoder=Encoder(self.fingerprint, pixels.shape[-1]), texture=texture)

    @torch.no_grad()
    def identities(self, pictures: Tensor) -> Tensor | None:
        """Who is on pictures [N, 3, H, H] in [-1, 1], as the U-Net is told it: [N, D]; None: it is not told."""
        if (encoder := self.identity_encoder) is None:
            return None
        return encoder(pictures.to(encoder.device)).to(self.unet.dtype)

    def prediction(
        self,
        lq: Tensor,
        shown: ReferenceCache | None,
        guidance: float,
        interval: tuple[float, float] = ALWAYS,
    ) -> tuple[Predict, Sequence[int]]:
        lq_latent = self._encode(lq)  # [B, C, h, w]
        null = None
        if shown is None:
            logger.info("No reference photographs: restoring from the low-quality picture alone.")
        elif guidance != 1:
            counts = shown.counts.sum(dim=1, keepdim=True)  # [B, 1]: as many zero references as there are real ones
            null = self._null_cache(lq_latent).expand(len(lq_latent)).with_multiplicity(counts)
        features = self._features(lq)
        last_timestep = self.scheduler.config["num_train_timesteps"] - 1
        first, last = (share * last_timestep for share in interval)
        always = interval == ALWAYS
        seen = None if shown is None else replace(shown, texture=None)  # which is for whoever draws
        plain = Evaluation(self.unet, lq_latent, (seen,), features)
        guided = None if null is None else Evaluation(self.unet, lq_latent, (seen, null), features)

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            if guided is None or not (always or first <= float(timestep) <= last):
                return self._graphs(plain, x, timestep)[0].float()
            prediction, without = (one.float() for one in self._graphs(guided, x, timestep))
            return without + guidance * (prediction - without)

        return predict, lq_latent.shape

    def forget(self) -> None:
        self._null = None
        self._graphs.clear()

    def show(self, references: References | ReferenceCache | None, lq: Tensor) -> ReferenceCache | None:
        side, device = self.shrink(lq).shape[-1], self.execution_device  # which diffusers looks for in all modules
        if isinstance(references, ReferenceCache):
            cache = self._own(references, side, device)
            cache = cache.expand(len(lq)) if cache.batch_size == 1 else cache
        else:
            caches = [self._cache_of_face(entry, side, device) for entry in references or ()]
            cache = ReferenceCache.batch(caches) if any(cache is not None for cache in caches) else None
        if cache is not None and cache.batch_size != len(lq):
            raise ValueError(f"references for {cache.batch_size} faces were given with {len(lq)} faces")
        return cache

    def _cache_of_face(
        self, entry: Images | ReferenceCache | None, side: int, device: torch.device
    ) -> ReferenceCache | None:
        if entry is None or len(entry) == 0:
            return None
        return self._own(entry if isinstance(entry, ReferenceCache) else self.encode_references(entry), side, device)

    def _own(self, cache: ReferenceCache, side: int, device: torch.device) -> ReferenceCache:
        """The cache on `device`. Raises UsageError if another network, or at another resolution, made it."""
        if cache.encoder is not None and cache.encoder != Encoder(self.fingerprint, side):
            raise UsageError(
                "The references were encoded by another model or at another resolution "
                f"({cache.encoder.network} at {cache.encoder.resolution} px, not {self.fingerprint} at {side} px)",
                hint="encode the photographs again with this one",
                code="foreign_references",
            )
        return cache.to(device, self.unet.dtype)

    def _null_cache(self, latents: Tensor) -> ReferenceCache:
        """The cache of one zero latent ("no reference"), computed once for latents like these."""
        key = (latents.shape[1:], latents.device, latents.dtype)
        null = self._null  # read once: another thread may replace it meanwhile
        if null is None or null[0] != key:
            null = (key, self.unet.encode_references(torch.zeros_like(latents[:1, None])))
            self._null = null
        return null[1]

    def _encode(self, pixels: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] -> latents [B, C, h, w] before quantisation, unscaled, as the U-Net takes them.

        On a CPU one at a time: several at once are no faster there, and take as many times the memory.
        """
        encoded_by = encode_in_strips if self.in_strips else encode
        pixels = pixels.to(self.vae.device, self.vae.dtype)
        parts = pixels.split(1) if pixels.device.type == "cpu" else (pixels,)
        return torch.cat([encoded_by(self.vae, part) for part in parts]).to(self.unet.dtype)

    def _features(self, lq: Tensor) -> tuple[Tensor, ...]:
        """q' [B, c, s, s] of the LQ faces for a U-Net that takes them, nothing for any other."""
        if self.vq is None:
            return ()
        pixels = lq.to(self.vq.device, self.vq.dtype)
        return (self.vq.features(pixels, self.unet.config["feature_size"]).to(self.unet.dtype),)
