"""Samplers take all noise away that they say they take."""

from typing import Literal

import pytest
import torch
from diffusers import DDIMScheduler

from faceref.errors import UsageError
from faceref.pipelines.sampling import denoise, make_sampler
from faceref.pipelines.scheduler_name import SchedulerName

DEVIATION = 0.5  # of the clean values


def scheduler(spacing: Literal["leading", "trailing"]) -> DDIMScheduler:
    schedule = {"beta_start": 0.0015, "beta_end": 0.0155, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(**schedule, timestep_spacing=spacing, clip_sample=False)


def restored_deviation(steps: int) -> float:
    """Of samples that the exact denoiser of N(0, 0.25) draws; the more steps, the nearer to 0.5."""
    model = scheduler("trailing")

    def noise_in(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        signal = model.alphas_cumprod[timestep]
        clean = signal.sqrt() * DEVIATION**2 * x / (signal * DEVIATION**2 + 1 - signal)
        return (x - signal.sqrt() * clean) / (1 - signal).sqrt()

    sampler = make_sampler(model, "ddim", steps)
    noise = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    noise = noise / noise.std()
    return float(denoise(sampler, noise, noise_in, None, lambda step, timestep, x: x).std())


def test_more_steps_of_ddim_come_closer_to_what_is_to_be_drawn():
    off = [DEVIATION - restored_deviation(steps) for steps in (8, 15, 30, 50, 100, 125, 250, 500)]
    assert off == sorted(off, reverse=True)
    assert 0 < off[-1] < 0.01


@pytest.mark.parametrize(("steps", "hint"), [(48, "47 or 49"), (150, "142 or 162"), (600, "500 or 971")])
def test_steps_of_ddim_that_would_leave_noise_are_refused(steps: int, hint: str):
    with pytest.raises(UsageError, match=f"choose {hint}, or another scheduler"):
        make_sampler(scheduler("trailing"), None, steps)
    make_sampler(scheduler("trailing"), "dpmsolver++", steps)


@pytest.mark.parametrize("name", ["ddim", "dpmsolver++", "unipc"])
def test_leading_steps_that_would_begin_in_the_middle_are_refused(name: SchedulerName):
    """Where they lie 1 apart, that is, or are a third of the schedule's."""
    for steps in (1, 2, 8, 48, 50, 150, 200, 332, 480, 998):  # its steps are as long as they are apart
        make_sampler(scheduler("leading"), name, steps)
    for steps in (334, 501, 600):
        with pytest.raises(UsageError, match=f"{steps} denoising steps do not fit .* timesteps; choose fewer"):
            make_sampler(scheduler("leading"), name, steps)
