"""What references, resolution and batch cost, as three plots and the numbers in them.

    OMP_NUM_THREADS=1 python benchmarks/cost.py docs/images/cost.png

The released sizes with random weights, guidance 1.5, float32, on the CPU: a step by references (up to 64), and each
part by resolution; and the shipped model with five references by faces in a batch. CPU seconds of one thread, medians
of rounds in which each point had its turn.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from faceref.allocator import keep_freed_memory
from faceref.bench.random_models import random_refldm
from faceref.checkpoints.store import load_pipeline
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

REFERENCES = (0, 1, 2, 4, 8, 16, 32, 64)
RESOLUTIONS = (128, 256, 384, 512)
BATCHES = (1, 2, 4, 8)
Point = TypeVar("Point", int, tuple[str, int])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plot", type=Path, help="the PNG to write")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    pipeline = random_refldm()
    assert isinstance(pipeline, ReFLDMPipeline)
    pipeline.use_channels_last()
    by_references = medians(steps(pipeline.unet), given.rounds)
    by_resolution = medians(parts(pipeline), given.rounds)
    by_batch = medians(batches(), given.rounds)
    slope = (by_references[64] - by_references[4]) / 60
    print("a step by references:", {count: round(seconds, 2) for count, seconds in by_references.items()})
    print(f"one more: {slope:.3f} s, {slope / by_references[4]:.1%} of a step with 4")
    print("by resolution:", {f"{name} {side}": round(seconds, 2) for (name, side), seconds in by_resolution.items()})
    print("a face by batch:", {count: round(seconds / count, 3) for count, seconds in by_batch.items()})
    print(f"load {os.getloadavg()[0]:.0f}")
    draw(by_references, by_resolution, by_batch, slope, given.plot)


def steps(unet: ReferenceUNet) -> dict[int, Callable[[], object]]:
    """A guided step with so many references; the keys of one serve for all."""
    latent = torch.randn(1, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    sample, one = torch.cat([latent, latent], dim=1), unet.encode_references(latent[:, None])
    zero = unet.encode_references(torch.zeros_like(latent)[:, None])

    def step(count: int) -> object:
        if count == 0:
            return unet(sample, 500)
        several = replace(one.changed(lambda memory: memory.repeat(1, count, 1)), references=count)
        return unet.forward_each(sample, 500, (several, zero.with_multiplicity(torch.tensor([[float(count)]]))))

    return {count: lambda count=count: step(count) for count in REFERENCES}


def parts(pipeline: ReFLDMPipeline) -> dict[tuple[str, int], Callable[[], object]]:
    """Encoding a picture, a step without references and decoding, by resolution."""
    work: dict[tuple[str, int], Callable[[], object]] = {}
    for side in RESOLUTIONS:
        picture, latent = noise(1, 3, side), noise(1, 8, side // 8)
        sample = torch.cat([latent, latent], dim=1)
        work["encode", side] = lambda picture=picture: pipeline.vae.encode(picture)
        work["step", side] = lambda sample=sample: pipeline.unet(sample, 500)
        work["decode", side] = lambda latent=latent: pipeline.decode(latent)
    return work


def batches() -> dict[int, Callable[[], object]]:
    """The shipped model's whole work on so many faces."""
    pipeline, info = load_pipeline("small")
    pipeline.use_channels_last()
    faces = noise(max(BATCHES), 3, info.resolution)
    cache = pipeline.encode_references(noise(5, 3, info.resolution))
    return {count: lambda count=count: pipeline(faces[:count], cache, output_type="raw") for count in BATCHES}


def noise(count: int, channels: int, side: int) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def medians(work: Mapping[Point, Callable[[], object]], rounds: int) -> dict[Point, float]:
    """CPU seconds of each, which has its turn in each round; the first round only warms up."""
    seconds: dict[Point, list[float]] = {point: [] for point in work}
    for _ in range(1 + rounds):
        for point, run in work.items():
            start = time.process_time()
            run()
            seconds[point].append(time.process_time() - start)
    return {point: statistics.median(told[1:]) for point, told in seconds.items()}


def draw(
    by_references: Mapping[int, float],
    by_resolution: Mapping[tuple[str, int], float],
    by_batch: Mapping[int, float],
    slope: float,
    path: Path,
) -> None:
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(list(by_references), list(by_references.values()), "o-")
    left.set(xlabel="references", ylabel="CPU seconds of a guided step", title=f"one more: {slope:.3f} s")
    for name in ("encode", "step", "decode"):
        middle.plot(RESOLUTIONS, [by_resolution[name, side] for side in RESOLUTIONS], "o-", label=name)
    middle.set(xlabel="pixels of a side", ylabel="CPU seconds", title="without references", xticks=RESOLUTIONS)
    middle.legend()
    right.plot(list(by_batch), [seconds / count for count, seconds in by_batch.items()], "o-")
    right.set(xlabel="faces in a batch", ylabel="CPU seconds a face", title="small, 5 references each")
    for axes in (left, middle, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
