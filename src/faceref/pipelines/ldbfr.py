"""LD-BFR's sampling: from a low-quality face (tensors), without references, to the restored face."""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import torch
import torch.nn.functional as F
from diffusers.schedulers import SchedulerMixin
from torch import Tensor

from faceref.models.autoencoder import AUTOENCODERS, Autoencoder
from faceref.models.fusion import PixelFusion
from faceref.models.ldbfr import InjectedUNet, RestoringVQModel
from faceref.models.reference import ReferenceCache
from faceref.pipelines.protocol import ALWAYS, FacePipeline, Predict, References, takes_none
from faceref.pipelines.sampling import Images, to_tensor


class LDBFRPipeline(FacePipeline):
    """Restores aligned faces: vq repairs features of the LQ face, which guide the denoising of vae's latents."""

    takes_references = False
    known: ClassVar = {
        "vq": (RestoringVQModel,),
        "unet": (InjectedUNet,),
        "vae": AUTOENCODERS,
        "fusion": (PixelFusion,),
    }
    _optional_components: ClassVar = ["fusion"]

    vq: RestoringVQModel
    unet: InjectedUNet

    def __init__(
        self,
        vq: RestoringVQModel,
        unet: InjectedUNet,
        vae: Autoencoder,
        scheduler: SchedulerMixin,
        fusion: PixelFusion | None = None,
    ) -> None:
        """fusion: corrects the decoded face by the LQ face."""
        super().__init__()
        self.register_modules(vq=vq, unet=unet, vae=vae, scheduler=scheduler, fusion=fusion)

    @torch.no_grad()
    def restore_stage1(self, lq: Images) -> Tensor:
        """What the vector-quantised restoration alone makes of B faces: [B, 3, H, H], about [-1, 1]."""
        pixels = to_tensor(lq)  # [B, 3, H, H]
        images = self.vq.decode(self._features(pixels)).float()  # CPUs do not resize in half precision
        if images.shape[-1] != pixels.shape[-1]:
            images = F.interpolate(images, size=pixels.shape[-2:], mode="bilinear", antialias=True)
        return images

    def encode_references(self, images: Images) -> NoReturn:
        raise takes_none("The model")

    def show(self, references: References | ReferenceCache | None, lq: Tensor) -> None:
        return None

    def prediction(
        self,
        lq: Tensor,
        shown: ReferenceCache | None,
        guidance: float,
        interval: tuple[float, float] = ALWAYS,
    ) -> tuple[Predict, Sequence[int]]:
        features = self._features(lq).to(self.unet.dtype)
        channels, side = (self.unet.config[name] for name in ("in_channels", "sample_size"))

        def predict(x: Tensor, timestep: Tensor) -> Tensor:
            return self.unet(x.to(self.unet.dtype), timestep, features).sample

        return predict, (len(lq), channels, side, side)

    def _features(self, lq: Tensor) -> Tensor:
        """q' [B, c, s, s] of faces [B, 3, H, H]."""
        return self.vq.features(lq.to(self.vq.device, self.vq.dtype), self.unet.config["feature_size"])
