"""What the pipelines share: samplers by name, the denoising loop, pictures in and out."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeGuard, cast, get_args

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL.Image import Image
from torch import Tensor

from faceref.errors import FacerefError, UsageError
from faceref.pipelines.scheduler_name import SchedulerName

SCHEDULERS = {"ddim": DDIMScheduler, "dpmsolver++": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}

MOST_UNEVEN = 0.03  # see `too_uneven`
LEAST_BEGUN = 0.75  # of the timestep where even steps begin: sampling begins with noise alone

Images = Tensor | Sequence[Image]  # [N, 3, H, W] in [-1, 1], or N pictures of one size
OutputType = Literal["pil", "np", "pt", "latent", "raw"]
Generators = torch.Generator | list[torch.Generator]
OnStep = Callable[[int, Tensor, Tensor], Tensor]  # (step from 0, timestep, latents) -> the latents to go on with


def make_sampler(scheduler: Any, name: SchedulerName | None, steps: int) -> Any:
    """A sampler of one call's own (samplers hold state) with the noise schedule of the model.

    Its timesteps lie on the CPU, as its schedule does: otherwise each step would wait for the device.
    scheduler: the pipeline's, of any of diffusers' classes; name: another class than that one's.
    Raises UsageError for an impossible number of steps or an unknown scheduler.
    """
    if name is not None and name not in SCHEDULERS:
        raise UsageError(f"There is no scheduler {name!r}", hint=f"choose one of {', '.join(get_args(SchedulerName))}")
    timesteps: int = scheduler.config["num_train_timesteps"]
    if not 1 <= steps <= timesteps:
        raise UsageError(f"{steps} denoising steps are not possible", hint=f"choose 1 to {timesteps}")
    sampler: Any = (type(scheduler) if name is None else SCHEDULERS[name]).from_config(scheduler.config)
    is_spread = isinstance(sampler, DDIMScheduler) and sampler.config.get("timestep_spacing") != "leading"
    if is_spread and too_uneven(steps, timesteps):
        fewer = next(n for n in range(steps, 0, -1) if not too_uneven(n, timesteps))
        more = next(n for n in range(steps, timesteps + 1) if not too_uneven(n, timesteps))
        hint = f"choose {fewer} or {more}, or another scheduler"
        raise UsageError(f"{steps} steps of ddim would leave noise in the faces", hint=hint)
    sampler.set_timesteps(steps)
    # "leading" timesteps end beyond the schedule where they have an offset, and begin within it where many are rounded
    if not LEAST_BEGUN * (timesteps - timesteps / steps) <= sampler.timesteps.max() < timesteps:
        raise UsageError(f"{steps} denoising steps do not fit this model's timesteps", hint="choose fewer")
    return sampler


def too_uneven(steps: int, timesteps: int) -> bool:
    """Whether DDIM's steps are much shorter than its timesteps lie apart, if these are spread evenly.

    diffusers' steps are timesteps // steps long. What they are shorter by is noise that nothing takes away: of samples
    with a deviation of 0.5, 2 % of that at the limit, a third where 1,000 timesteps are 600 steps.
    """
    return 1 - timesteps // steps * steps / timesteps > MOST_UNEVEN


def check_guidance(guidance: float) -> None:
    """Raises UsageError unless it is finite and 0 or more."""
    if not (math.isfinite(guidance) and guidance >= 0):
        raise UsageError(f"A guidance of {guidance} is not possible", hint="give 0 or more, 1 for none")


def check_interval(interval: tuple[float, float]) -> None:
    """Raises UsageError unless it is of timesteps from 0 (clean) to 1 (noise)."""
    first, last = interval
    if not 0 <= first <= last <= 1:
        raise UsageError(f"Guidance in the interval {first} to {last} is not possible", hint="give two of 0 to 1")


def draw_noise(shape: Sequence[int], generator: Generators | None, device: torch.device) -> Tensor:
    """Standard normal noise of a shape [B, ...] in float32; one generator for each of the B makes them independent.

    None: torch's own generator. Raises ValueError for another number of generators.
    """
    if isinstance(generator, list) and len(generator) != shape[0]:
        raise ValueError(f"{len(generator)} generators were given for {shape[0]} faces")
    return randn_tensor(tuple(shape), generator, device, torch.float32)


def denoise(
    sampler: Any,
    noise: Tensor,
    predict: Callable[[Tensor, Tensor], Tensor],
    generator: Generators | None,
    on_step: OnStep,
) -> Tensor:
    """From noise [B, C, h, w] to latents of the same shape.

    predict: the network's output, given the noisy latents as it takes them and the timestep. generator: for samplers
    that add noise. on_step: called after each step; an exception in it ends the restoration.
    """
    adds_noise = "generator" in inspect.signature(sampler.step).parameters
    extra = {"generator": generator} if adds_noise else {}
    # The sampler's arithmetic stays in float32 whatever the network's precision.
    x = noise.float() * sampler.init_noise_sigma
    for step, timestep in enumerate(sampler.timesteps):
        prediction = predict(sampler.scale_model_input(x, timestep), timestep)
        x = sampler.step(prediction.float(), timestep, x, **extra).prev_sample
        x = on_step(step, timestep, x)
    return x


def is_one(image: Images | Image) -> TypeGuard[Tensor | Image]:
    """Whether it is one picture, a tensor [3, H, W] or PIL's, and not a batch of them."""
    return isinstance(image, Image) or (isinstance(image, Tensor) and image.ndim == 3)


def to_tensor(images: Images | Image) -> Tensor:
    """One picture, or several of one size -> [N, 3, H, W] in [-1, 1]; tensors as they are."""
    if isinstance(images, Tensor):
        return images[None] if images.ndim == 3 else images
    pictures = [images] if isinstance(images, Image) else list(images)
    return VaeImageProcessor(do_resize=False, do_convert_rgb=True).preprocess(pictures)


def to_output(images: Tensor, output_type: OutputType) -> Tensor | np.ndarray | list[Image]:
    """Decoded pictures [B, 3, H, W], about [-1, 1]: "raw" as they are (float32), else as diffusers gives them.

    That is: "pil" pictures, "pt" the same shape clipped to [0, 1], "np" [B, H, W, 3] in [0, 1].
    Raises FacerefError if a number is not finite: a guidance beyond what the network knows does that.
    """
    images = images.float()
    if not torch.isfinite(images).all():
        hint = "choose a smaller guidance or other steps"
        raise FacerefError("The network's result is not finite", hint=hint, code="not_finite")
    if output_type == "raw":
        return images
    return cast(Tensor | np.ndarray | list[Image], VaeImageProcessor().postprocess(images, output_type))
