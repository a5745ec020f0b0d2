"""Seconds and memory that one face takes on this machine, by denoising steps and references: `make bench`."""

import argparse
import functools
import logging
import platform
import resource
from collections.abc import Callable
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from faceref import Restorer
from faceref.checkpoints.info import ModelInfo
from faceref.compute import DtypeName, Memory
from faceref.devices import Timings
from faceref.pipelines.protocol import FacePipeline

REFERENCES = (0, 1, 3, 5)
STEPS = (10, 50)  # and the model's own
REPETITIONS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="small", help="small, refldm-512 or a model folder")
    parser.add_argument("--device", help="cuda, mps or cpu; the best there is by default")
    parser.add_argument("--dtype", choices=get_args(DtypeName), default="float32")
    parser.add_argument("--memory", choices=get_args(Memory), default="normal")
    arguments = parser.parse_args()
    logging.getLogger("faceref").setLevel(logging.ERROR)
    restorer = Restorer.from_pretrained(arguments.model, arguments.device, arguments.dtype, memory=arguments.memory)
    info, device = restorer.model.info, restorer.model.device
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    table = Table(title=f"{info.name}, {info.resolution} px, guidance {info.guidance}, {name}: seconds per face")
    for column in ("references", "steps", "encode references", "denoise", "decode", "in all", "peak memory"):
        table.add_column(column, justify="right")
    for references in REFERENCES if restorer.model.pipeline.takes_references else (0,):
        used = restorer.model if references else restorer.blind
        for steps in sorted({*STEPS, used.info.steps}):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            encode, denoise, decode = time_phases(used.pipeline, used.info, references, steps)
            table.add_row(
                str(references),
                str(steps),
                *(f"{seconds:.3f}" for seconds in (encode, denoise, decode, encode + denoise + decode)),
                f"{peak_memory(device) / 2**20:.0f} MiB",
            )
    Console().print(table)


def time_phases(pipeline: FacePipeline, info: ModelInfo, references: int, steps: int) -> tuple[float, float, float]:
    """Seconds to encode the references, to denoise (with the LQ picture's encoding), and to decode and correct."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(1 + references, 3, info.resolution, info.resolution, generator=generator) * 2 - 1
    lq, good = pictures[:1], pictures[1:]

    def encode():
        return pipeline.encode_references(good) if references else None

    sampling = pipeline.defaults.changed(steps=steps)
    options = sampling.arguments() | {"generator": generator, "output_type": "latent"}
    restore = functools.partial(pipeline, lq, encode(), **options)
    latents = restore().images
    assert isinstance(latents, torch.Tensor)  # which output_type says

    def decode():
        return pipeline.draw(latents, lq)

    encoding, denoising, decoding = (best_time(pipeline.execution_device, work) for work in (encode, restore, decode))
    return encoding, denoising, decoding


def best_time(device: torch.device, work: Callable[[], object]) -> float:
    """The shortest of a few runs, seconds: what the machine can do when nothing else disturbs it."""
    durations = []
    for _ in range(REPETITIONS):
        timings = Timings(device)
        with timings("work"):
            work()
        durations.append(timings.seconds["work"])
    return min(durations)


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's memory where there is one, else of the process (the largest so far)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kibibyte = 1 if platform.system() == "Darwin" else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibibyte


if __name__ == "__main__":
    main()
