"""The stages in which networks compute: encoding, each step, decoding, drawing."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from faceref.bench.report import Setting, Stage
from faceref.bench.stopwatch import Measured, count_flops, measure, peak_memory, reset_peak_memory
from faceref.devices import wait_for
from faceref.pipelines.protocol import FacePipeline, Predict
from faceref.pipelines.sampling import denoise, draw_noise, make_sampler
from faceref.pipelines.settings import Sampling


@torch.no_grad()
def network_stages(
    pipeline: FacePipeline, resolution: int, sampling: Sampling, setting: Setting, repetitions: int
) -> Iterator[Stage]:
    """Measure each on pictures of noise of `resolution` px; what a face shows does not change how long it takes.

    sampling: guidance and scheduler; the steps are the setting's.
    """
    device = pipeline.execution_device
    sampling = replace(sampling, steps=setting.steps)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(setting.batch + setting.references, 3, resolution, resolution, generator=generator) * 2 - 1
    lq, good = pictures[: setting.batch], pictures[setting.batch :]
    caches = None
    if setting.references:
        measured = measure(lambda: pipeline.encode_references(good), device, repetitions)
        yield Stage.of("encode references", measured, setting, setting.batch)
        caches = [pipeline.encode_references(good)] * setting.batch
    small = pipeline.shrink(lq)
    shown = pipeline.show(caches, lq)
    told = small, shown, sampling.guidance
    yield Stage.of("encode LQ", measure(lambda: pipeline.prediction(*told), device, repetitions), setting)
    predict, shape = pipeline.prediction(*told)
    noise = draw_noise(shape, generator, device)
    measured, latents = time_steps(pipeline, predict, noise, sampling, repetitions)
    yield Stage.of("step", measured, setting, setting.steps)
    decoded = pipeline.decode(latents)
    yield Stage.of("decode", measure(lambda: pipeline.decode(latents), device, repetitions), setting)
    hints = pipeline.hints(decoded, lq, sampling.crisp, shown)
    if shown is not None and hints:
        measured = measure(lambda: pipeline.hints(decoded, lq, sampling.crisp, shown), device, repetitions)
        yield Stage.of("texture", measured, setting)
    if pipeline.fusion is not None or pipeline.detail is not None:
        measured = measure(lambda: pipeline.correct(decoded, latents, lq, *hints), device, repetitions)
        yield Stage.of("correct", measured, setting)


@torch.no_grad()
def time_steps(
    pipeline: FacePipeline, predict: Predict, noise: Tensor, sampling: Sampling, repetitions: int
) -> tuple[Measured, Tensor]:
    """One step, by the median of all steps of as many denoisings as have `repetitions` steps; and the latents."""
    device = noise.device
    sampler = make_sampler(pipeline.scheduler, sampling.scheduler, sampling.steps)
    with count_flops() as counter:
        predict(noise, sampler.timesteps[0])
    reset_peak_memory(device)
    ends: list[float] = []

    def note(_step: int, _timestep: Tensor, x: Tensor) -> Tensor:
        wait_for(device)
        ends.append(time.perf_counter())
        return x

    durations: list[float] = []
    latents = noise
    while len(durations) < repetitions:
        sampler = make_sampler(pipeline.scheduler, sampling.scheduler, sampling.steps)
        wait_for(device)
        ends[:] = [time.perf_counter()]
        latents = denoise(sampler, noise, predict, None, note)
        durations += [end - start for start, end in itertools.pairwise(ends)]
    return Measured(statistics.median(durations), peak_memory(device), counter.get_total_flops()), latents
