"""What every family of models offers: references or none, one set of options, one way to restore a face."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from threading import RLock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from accelerate import cpu_offload
from diffusers import DiffusionPipeline, ModelMixin, UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.utils.outputs import BaseOutput
from PIL.Image import Image
from torch import Tensor, nn

from faceref.compute import Backend
from faceref.devices import best_device
from faceref.errors import UsageError
from faceref.models.reference import ReferenceAttnProcessor, ReferenceCache
from faceref.pipelines.drawing import Drawing
from faceref.pipelines.loading import assemble, load_components, load_sampling
from faceref.pipelines.sampling import (
    SCHEDULERS,
    Generators,
    Images,
    OutputType,
    check_guidance,
    check_interval,
    denoise,
    draw_noise,
    is_one,
    make_sampler,
    to_output,
    to_tensor,
)
from faceref.pipelines.scheduler_name import SchedulerName
from faceref.pipelines.settings import Sampling

References = Sequence[Images | ReferenceCache | None]  # per face of the batch; nothing or None: no references
Predict = Callable[[Tensor, Tensor], Tensor]  # noisy latents [B, C, h, w] and a timestep -> the network's output
Callback = Callable[["FacePipeline", int, Tensor, dict[str, Any]], dict[str, Any] | None]

ALWAYS = (0.0, 1.0)  # guidance at all timesteps


@dataclass
class Restoration(BaseOutput):
    """images: B pictures, or an array [B, ...], as the output_type says."""

    images: Tensor | np.ndarray | list[Image]


class FacePipeline(Drawing, DiffusionPipeline, ABC):
    """Restores aligned faces. It is for inference: what it works out of its weights once it does not work out again.

    takes_references: whether photographs of the person can be shown to it, and guidance towards them be given.
    known: the classes that a model folder may name for each component, beside the scheduler.
    defaults: how it samples unless a call says otherwise; those of faceref.json where it was loaded from a model.
    backend: what computes its networks.
    """

    takes_references: ClassVar[bool]
    known: ClassVar[Mapping[str, Sequence[type[ModelMixin]]]]
    _optional_components: ClassVar[Collection[str]]
    _exclude_from_cpu_offload: ClassVar = ["vae", "vq", "fusion", "detail", "identity_encoder"]

    unet: UNet2DModel
    scheduler: Any  # of any of diffusers' classes
    defaults: Sampling = Sampling()
    backend: Backend = "torch"
    _turn: AbstractContextManager[Any] = nullcontext()

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], torch_dtype: torch.dtype = torch.float32) -> Self:
        """Load what `save_pretrained` wrote, or a model of ours with the sampling that its faceref.json names.

        Raises CheckpointError if the folder is not such a model.
        """
        components = load_components(cls, folder, cls.known, torch_dtype, cls._optional_components)
        return cls.of(components, folder)

    @classmethod
    def of(cls, components: Mapping[str, Any], folder: str | os.PathLike[str]) -> Self:
        """A pipeline of these components, with the schedule and the sampling of the model in `folder`; raises as that.

        components: networks, or what computes in their place (`faceref.backends.networks`).
        """
        pipeline = assemble(cls, folder, components)
        sampling = load_sampling(folder)
        if sampling is not None:
            pipeline.defaults = sampling if cls.takes_references else replace(sampling, guidance=1.0)
            pipeline.scheduler = SCHEDULERS[sampling.scheduler].from_config(pipeline.scheduler.config)
        return pipeline

    @property
    def execution_device(self) -> torch.device:
        """Where the networks compute; `device` is where they are kept, elsewhere when they are offloaded."""
        return self._execution_device

    def use_channels_last(self) -> None:
        """Lay out all weights as convolutions compute fastest with them; results are the same but for rounding.

        Not where that is not known to be faster (docs/performance.md): elsewhere than on CPUs and CUDA. The autoencoder
        attends by our processor from then on, which some CPUs compute faster (`faceref.models.attention`).
        """
        if self.execution_device.type in ("cpu", "cuda"):
            for network in self.components.values():
                if isinstance(network, nn.Module):
                    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - it does take it
            for layer in self.vae.modules() if isinstance(self.vae, nn.Module) else ():
                if isinstance(layer, Attention):
                    layer.set_processor(ReferenceAttnProcessor())  # type: ignore[arg-type] - it is one

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

    def check(self, sampling: Sampling, called: str = "The model") -> None:
        """Raise UsageError for what `__call__` would refuse; it takes no time. called: by the error."""
        make_sampler(self.scheduler, sampling.scheduler, sampling.steps)
        self._check_told(sampling, called)

    def _check_told(self, sampling: Sampling, called: str = "The model") -> None:
        """The same but for the steps, which the sampler takes."""
        if sampling.crisp is not None and not 0 <= sampling.crisp <= 1:
            raise UsageError(f"A crispness of {sampling.crisp} is not possible", hint="give 0 (soft) to 1 (crisp)")
        if sampling.crisp is not None and not self.is_textured:
            raise UsageError(
                f"{called} cannot be told how crisply to draw",
                hint="leave crisp out, or choose a model whose decoder is told how crisply to draw, like small",
                code="no_crispness",
            )
        check_guidance(sampling.guidance)
        if not self.takes_references and sampling.guidance != 1:
            raise UsageError(
                f"{called} restores without references, so that there is no guidance towards them",
                hint="leave guidance out, or choose a model of the family refldm",
                code="no_guidance",
            )

    def check_takes_references(self, called: str = "The model") -> None:
        """Raise UsageError if the model takes no references. called: by the error."""
        if not self.takes_references:
            raise takes_none(called)

    @abstractmethod
    def encode_references(self, images: Images) -> ReferenceCache:
        """The cache of one person's N >= 1 photographs, [N, 3, H, W] in [-1, 1] or pictures of one size.

        Raises UsageError if the model takes no references.
        """

    @torch.no_grad()
    def __call__(
        self,
        image: Images | Image,
        references: References | Images | ReferenceCache | None = None,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] = ALWAYS,
        scheduler: SchedulerName | None = None,
        crisp: float | None = None,
        generator: Generators | None = None,
        latents: Tensor | None = None,
        callback_on_step_end: Callback | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
    ) -> Restoration:
        """Restore aligned faces, which may be of different people with different numbers of references.

        Names and conventions are diffusers'; what is not given is as in `defaults`.

        image: low-quality faces, [B, 3, H, H] in [-1, 1] or B pictures; or one, [3, H, H] or a picture.
        references: for each face its reference photographs, a cache of them or None; or one cache for all B. Of one
            face: its photographs, or a cache.
        num_inference_steps: denoising steps, 1 to the number of training timesteps.
        guidance_scale: s of classifier-free guidance towards the references, eps(null) + s (eps(ref) - eps(null)); 1 is
            none.
        guidance_interval: the timesteps, from 0 (clean) to 1 (noise), with guidance; the others take half the time and
            follow the references plainly. Kynkäänniemi et al. 2024 (arXiv 2404.07724) find that it helps in the middle.
        scheduler: samples instead of the pipeline's own, with its noise schedule.
        crisp: how crisply a decoder that can be told draws, from 0, the likeliest picture, to 1, what looks most like a
            photograph (`faceref.models.detail_decoder`).
        generator: draws the starting noise; one per face makes a face's result independent of its neighbours'. None:
            torch's own.
        latents: the starting noise itself, [B, C, h, w].
        callback_on_step_end: called with (self, step from 0, timestep, {"latents": [B, C, h, w]}) after each step; it
            may return other latents. An exception in it ends the restoration.
        output_type: "pil" pictures, "np" [B, H, H, 3] or "pt" [B, 3, H, H] in [0, 1], "latent" [B, C, h, w]; "raw"
            [B, 3, H, H], about [-1, 1] and not clipped.
        return_dict: False: a tuple of the images alone.

        Raises UsageError for an impossible number of steps, an unknown scheduler, references or guidance that the model
        cannot use or that another network encoded; ValueError for shapes or numbers of things that do not fit.
        """
        sampling = self.defaults.changed(steps=num_inference_steps, guidance=guidance_scale, crisp=crisp)
        sampler = make_sampler(self.scheduler, scheduler, sampling.steps)
        self._check_told(sampling)
        check_interval(guidance_interval)
        if references is not None:
            self.check_takes_references()
            if is_one(image) and not isinstance(references, ReferenceCache):
                references = [references]  # type: ignore[list-item]
        device = self.execution_device
        lq = to_tensor(image)
        with self._turn, self.progress_bar(total=len(sampler.timesteps)) as bar:  # type: ignore[call-arg]
            shown = self.show(references, lq)  # type: ignore[arg-type]
            predict, shape = self.prediction(self.shrink(lq), shown, sampling.guidance, guidance_interval)
            noise = draw_noise(shape, generator, device) if latents is None else latents.to(device)
            after_step = partial(self._after_step, callback_on_step_end, bar)
            x = denoise(sampler, noise, predict, generator, after_step)
        images = x if output_type == "latent" else to_output(self.draw(x, lq, sampling.crisp, shown), output_type)
        return Restoration(images=images) if return_dict else (images,)  # type: ignore[return-value]

    def _after_step(self, callback: Callback | None, bar: Any, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        bar.update()
        if callback is None:
            return latents
        changed = callback(self, step, timestep, {"latents": latents}) or {}
        return changed.get("latents", latents)

    def forget(self) -> None:
        """Let go what was kept on the device to be faster."""

    @abstractmethod
    def show(self, references: References | ReferenceCache | None, lq: Tensor) -> ReferenceCache | None:
        """One cache of the references of all faces `lq` [B, 3, H, H]; None: no face has any."""

    @abstractmethod
    def prediction(
        self,
        lq: Tensor,
        shown: ReferenceCache | None,
        guidance: float,
        interval: tuple[float, float] = ALWAYS,
    ) -> tuple[Predict, Sequence[int]]:
        """What the network says of noisy latents, told of the faces and all else; and the latents' shape.

        lq: [B, 3, H, H] in [-1, 1] at the autoencoder's size, as `shrink` makes it. shown: the references of all B
            (`show`). interval: of guidance, as `__call__` has it.
        """


def takes_none(called: str) -> UsageError:
    """The error that references were given to a model that takes none. called: by it."""
    return UsageError(
        f"{called} restores without references and cannot use any",
        hint="give none, or choose a model of the family refldm",
        code="no_references",
    )
