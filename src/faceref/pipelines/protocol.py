"""What every family of models offers: references or none, one set of options, one way to restore a face."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any, ClassVar, Self

import torch
from accelerate import cpu_offload
from diffusers import DDIMScheduler, DiffusionPipeline, ModelMixin, UNet2DModel
from diffusers.utils.outputs import BaseOutput
from PIL.Image import Image
from torch import Tensor, nn

from faceref.devices import best_device
from faceref.errors import UsageError
from faceref.models.autoencoder import Autoencoder, decode
from faceref.models.detail_decoder import DetailDecoder, draw_between, shrink
from faceref.models.fusion import PixelFusion
from faceref.models.reference import ReferenceCache
from faceref.models.strips import decode_in_strips
from faceref.pipelines.loading import load_pipeline_folder
from faceref.pipelines.sampling import (
    Callback,
    Generators,
    Images,
    OutputType,
    check_guidance,
    denoise,
    draw_noise,
    make_sampler,
    to_output,
    to_tensor,
)
from faceref.pipelines.scheduler_name import SchedulerName

References = Sequence[Images | ReferenceCache | None]  # per face of the batch; nothing or None: no references
Predict = Callable[[Tensor, Tensor], Tensor]  # noisy latents [B, C, h, w] and a timestep -> the network's output


@dataclass
class Restoration(BaseOutput):
    """images: B pictures, or a tensor [B, ...], as the output_type says."""

    images: Tensor | list[Image]


class FacePipeline(DiffusionPipeline, ABC):
    """Restores aligned faces. It is for inference: what it works out of its weights once it does not work out again.

    takes_references: whether photographs of the person can be shown to it, and guidance towards them be given.
    known: the classes that a model folder may name for each component, beside the scheduler.
    """

    takes_references: ClassVar[bool]
    known: ClassVar[Mapping[str, Sequence[type[ModelMixin]]]]
    _optional_components: ClassVar[Collection[str]]
    _exclude_from_cpu_offload: ClassVar = ["vae", "vq", "fusion", "detail", "crisp_detail"]

    unet: UNet2DModel
    vae: Autoencoder
    scheduler: DDIMScheduler
    fusion: PixelFusion | None
    detail: DetailDecoder | None = None
    crisp_detail: DetailDecoder | None = None
    in_strips: bool = False
    _turn: AbstractContextManager[Any] = nullcontext()

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], torch_dtype: torch.dtype = torch.float32) -> Self:
        """Load what `save_pretrained` wrote. Raises CheckpointError if the folder is not such a model."""
        return load_pipeline_folder(cls, folder, cls.known, torch_dtype, cls._optional_components)

    @property
    def execution_device(self) -> torch.device:
        """Where the networks compute; `device` is where they are kept, elsewhere when they are offloaded."""
        return self._execution_device

    def enable_vae_tiling(self) -> None:
        """From now on encode and decode one picture at a time, in strips (`faceref.models.strips`).

        The results are the same but for rounding.
        """
        self.in_strips = True

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """As diffusers' own, for the denoiser: its layers are on the device only while they compute.

        The other networks are there always: they are smaller, and do not compute in their `forward` alone, where
        offloading looks. The pipeline then restores for one thread at a time.
        """
        device = best_device() if device is None else torch.device(device)
        device = device if gpu_id is None else torch.device(device.type, gpu_id)
        self.remove_all_hooks()
        for name, network in self.components.items():
            if isinstance(network, nn.Module) and name in self._exclude_from_cpu_offload:
                network.to(device)
        cpu_offload(self.unet.to("cpu"), device)  # type: ignore[arg-type]
        self._turn = RLock()

    def output_side(self, side: int) -> int:
        """The side of the picture that it makes of a face of `side` pixels."""
        return side * (1 if self.fusion is None else self.fusion.scale)

    def check_options(
        self,
        *,
        steps: int,
        scheduler: SchedulerName,
        guidance: float | None = None,
        crisp: float | None = None,
        called: str = "The model",
    ) -> None:
        """Raise UsageError for options that `__call__` would refuse; it takes no time. called: by the error."""
        make_sampler(self.scheduler, scheduler, steps, torch.device("cpu"))
        if crisp is not None and not 0 <= crisp <= 1:
            raise UsageError(f"A crispness of {crisp} is not possible", hint="give 0 (soft) to 1 (crisp)")
        if crisp is not None and self.crisp_detail is None:
            raise UsageError(f"{called} draws in one way only", hint="leave crisp out", code="no_crispness")
        if guidance is not None:
            check_guidance(guidance)
        if not self.takes_references and guidance not in (None, 1):
            raise UsageError(
                f"{called} restores without references, so that there is no guidance towards them",
                hint="leave guidance out, or choose a model of the family refldm",
                code="no_guidance",
            )

    def check_takes_references(self, called: str = "The model") -> None:
        """Raise UsageError if the model takes no references. called: by the error."""
        if not self.takes_references:
            raise UsageError(
                f"{called} restores without references and cannot use any",
                hint="give none, or choose a model of the family refldm",
                code="no_references",
            )

    def encode_references(self, images: Images) -> ReferenceCache:
        """The cache of one person's N >= 1 photographs, [N, 3, H, W] in [-1, 1] or pictures of one size.

        Raises UsageError if the model takes no references.
        """
        self.check_takes_references()
        raise NotImplementedError(f"{type(self).__name__} takes references and has to encode them")

    @torch.no_grad()
    def __call__(
        self,
        lq: Images,
        references: References | ReferenceCache | None = None,
        *,
        steps: int,
        scheduler: SchedulerName = "ddim",
        guidance: float | None = None,
        crisp: float | None = None,
        generator: Generators | None = None,
        latents: Tensor | None = None,
        callback: Callback | None = None,
        output_type: OutputType = "pil",
    ) -> Restoration:
        """Restore a batch of B aligned faces, which may be of different people with different numbers of references.

        lq: low-quality faces, [B, 3, H, H] in [-1, 1] or B pictures.
        references: for each face its reference photographs, a cache of them or None; or one cache for all B.
        steps: denoising steps, 1 to the number of training timesteps.
        guidance: scale s of classifier-free guidance towards the references, eps(null) + s (eps(ref) - eps(null));
            None: 1, which is none.
        crisp: from 0, the most faithful drawing, to 1, the one that looks most like a photograph, where the model has
            both; None: 0.
        generator: draws the starting noise; one per face makes a face's result independent of its neighbours'.
        latents: the starting noise itself, [B, C, h, w].
        callback: called with (step, latents) after each step, counted from 1; an exception in it ends the restoration.
        output_type: "pil" pictures, "pt" tensor [B, 3, S, S] about [-1, 1] (not clipped), "latent" [B, C, h, w]; S is
            `output_side(H)`.

        Raises UsageError for an impossible number of steps, an unknown scheduler, references or guidance that the model
        cannot use or that another network encoded; ValueError for shapes that do not fit or if neither generator nor
        latents are given.
        """
        self.check_options(steps=steps, scheduler=scheduler, guidance=guidance, crisp=crisp)
        if references is not None:
            self.check_takes_references()
        device = self.execution_device
        sampler = make_sampler(self.scheduler, scheduler, steps, device)
        lq = to_tensor(lq)
        with self._turn:
            predict, shape = self._prediction(self.shrink(lq), references, 1.0 if guidance is None else guidance)
            noise = draw_noise(shape, generator, device) if latents is None else latents.to(device)
            x = denoise(sampler, noise, predict, callback)
        if output_type == "latent":
            return Restoration(images=x)
        return Restoration(images=to_output(self.draw(x, lq, crisp or 0.0), output_type))

    def shrink(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, H], as the pipeline is given them, at the size that the autoencoder works at."""
        return pictures if self.detail is None else shrink(pictures, self.detail.config["enlargement"])

    @torch.no_grad()
    def draw(self, latents: Tensor, lq: Tensor, crisp: float = 0.0) -> Tensor:
        """Denoised latents [B, C, h, w] of the faces `lq` [B, 3, H, H] as pictures [B, 3, S, S], about [-1, 1]."""
        if self.in_strips and len(latents) > 1:
            return torch.cat([self.draw(*one, crisp) for one in zip(latents.split(1), lq.split(1), strict=True)])
        drawn_by = decode_in_strips if self.in_strips else decode  # they quantise first, if there is a codebook
        decoded = drawn_by(self.vae, latents.to(self.vae.device, self.vae.dtype))
        lq = lq.to(decoded.device, decoded.dtype)
        if self.detail is not None:
            return draw_between(self.detail, self.crisp_detail or self.detail, crisp, latents.to(lq.dtype), decoded, lq)
        return decoded if self.fusion is None else self.fusion(decoded, lq)

    @abstractmethod
    def _prediction(
        self, lq: Tensor, references: References | ReferenceCache | None, guidance: float
    ) -> tuple[Predict, Sequence[int]]:
        """What the network says of noisy latents, told of the faces `lq` [B, 3, H, H] and all else; and their shape."""
