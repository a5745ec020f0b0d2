"""What the pipelines share: samplers by name, the denoising loop, pictures in and out."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL.Image import Image
from torch import Tensor

from faceref.errors import FacerefError, UsageError
from faceref.pipelines.scheduler_name import SchedulerName

SCHEDULERS = {"ddim": DDIMScheduler, "dpmsolver++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}

Images = Tensor | Sequence[Image]  # [N, 3, H, W] in [-1, 1], or N pictures of one size
OutputType = Literal["pil", "pt", "latent"]
Generators = torch.Generator | list[torch.Generator]
Callback = Callable[[int, Tensor], None]


def make_sampler(schedule: DDIMScheduler, name: SchedulerName, steps: int, device: torch.device) -> Any:
    """A sampler of one call's own (samplers hold state) with the noise schedule of the model.

    Raises UsageError for an impossible number of steps or an unknown scheduler.
    """
    if name not in SCHEDULERS:
        raise UsageError(f"There is no scheduler {name!r}", hint=f"choose one of {', '.join(get_args(SchedulerName))}")
    timesteps: int = schedule.config["num_train_timesteps"]
    if not 1 <= steps <= timesteps:
        raise UsageError(f"{steps} denoising steps are not possible", hint=f"choose 1 to {timesteps}")
    sampler = SCHEDULERS[name].from_config(schedule.config)
    sampler.set_timesteps(steps, device=device)  # type: ignore[union-attr]
    return sampler


def check_guidance(guidance: float) -> None:
    """Raises UsageError unless it is finite and 0 or more."""
    if not (math.isfinite(guidance) and guidance >= 0):
        raise UsageError(f"A guidance of {guidance} is not possible", hint="give 0 or more, 1 for none")


def draw_noise(shape: Sequence[int], generator: Generators | None, device: torch.device) -> Tensor:
    """Standard normal noise of a shape [B, ...] in float32; one generator for each of the B makes them independent."""
    if generator is None or (isinstance(generator, list) and len(generator) != shape[0]):
        raise ValueError("give a generator (or one per face), or the starting noise as latents")
    return randn_tensor(tuple(shape), generator, device, torch.float32)


def denoise(
    sampler: Any, noise: Tensor, predict: Callable[[Tensor, Tensor], Tensor], callback: Callback | None
) -> Tensor:
    """From noise [B, C, h, w] to latents of the same shape.

    predict: the network's output, given the noisy latents as it takes them and the timestep.
    callback: called with (step, latents) after each step, counted from 1; an exception in it ends the restoration.
    """
    # The sampler's arithmetic stays in float32 whatever the network's precision.
    x = noise.float() * sampler.init_noise_sigma
    for step, timestep in enumerate(sampler.timesteps, start=1):
        prediction = predict(sampler.scale_model_input(x, timestep), timestep)
        x = sampler.step(prediction.float(), timestep, x).prev_sample
        if callback is not None:
            callback(step, x)
    return x


def to_tensor(images: Images) -> Tensor:
    """Pictures of one size -> [N, 3, H, W] in [-1, 1]; tensors as they are."""
    if isinstance(images, Tensor):
        return images
    return VaeImageProcessor(do_resize=False, do_convert_rgb=True).preprocess(list(images))


def to_output(images: Tensor, output_type: OutputType) -> Tensor | list[Image]:
    """Decoded pictures [B, 3, H, W], about [-1, 1], as they are (float32) or, for "pil", as PIL pictures.

    Raises FacerefError if a number is not finite: a guidance beyond what the network knows does that.
    """
    images = images.float()
    if not torch.isfinite(images).all():
        hint = "choose a smaller guidance or other steps"
        raise FacerefError("The network's result is not finite", hint=hint, code="not_finite")
    return cast(list[Image], VaeImageProcessor().postprocess(images)) if output_type == "pil" else images
