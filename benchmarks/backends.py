"""What ONNX Runtime and OpenVINO bring: each stage of a restoration beside PyTorch's, and how far results differ.

CPU seconds of the process and not the clock's, the median of rounds in which each backend has its turn: so that other
programs on the machine disturb all alike, and little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table

from faceref.bench.random_models import REFLDM, random_refldm
from faceref.checkpoints.info import ModelInfo, find_model, read_info
from faceref.checkpoints.store import load_pipeline, save_model
from faceref.compute import Backend
from faceref.models.autoencoder import encode
from faceref.models.reference import ReferenceCache
from faceref.pipelines.protocol import FacePipeline

BACKENDS = ("torch", "channels_last", "onnxruntime", "openvino")
Stages = dict[str, Callable[[], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="small", help="small, a model folder, or random-refldm-512")
    parser.add_argument("--references", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--stages", nargs="*", help="only these, like step; by default all")
    parser.add_argument(
        "--backends", nargs="*", default=BACKENDS, help="only these, each in memory: the first is torch"
    )
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        model = arguments.model
        if model == "random-refldm-512":
            model = Path(scratch, "refldm")
            save_model(random_refldm(), REFLDM, model)
        pipelines = {name: load(model, name) for name in arguments.backends}
        info = read_info(find_model(model))
    backends = {name: stages(pipeline, info, arguments.references) for name, pipeline in pipelines.items()}
    if arguments.stages:
        backends = {name: {key: of_one[key] for key in arguments.stages} for name, of_one in backends.items()}
    results = {name: {stage: work() for stage, work in of_one.items()} for name, of_one in backends.items()}
    seconds = measure(backends, arguments.rounds)
    title = f"{info.name}, {arguments.references} references, {torch.get_num_threads()} thread: CPU seconds"
    table = Table("stage", *backends, title=title)
    for stage in backends["torch"]:
        table.add_row(stage, *(f"{seconds[name, stage]:.4f}" for name in backends))
    table.add_row(
        "in all, a step", *(f"{sum(seconds[name, stage] for stage in backends[name]):.4f}" for name in backends)
    )
    Console().print(table)
    for name, of_one in results.items():
        differences = {stage: largest_difference(one, results["torch"][stage]) for stage, one in of_one.items()}
        print(name, "differs by at most", {stage: f"{value:.1e}" for stage, value in differences.items()})


def load(model: str | Path, backend: str) -> FacePipeline:
    """The model, computed by one of BACKENDS."""
    if backend != "channels_last":
        return load_pipeline(model, backend=cast(Backend, backend))[0]
    pipeline, _ = load_pipeline(model)
    for network in pipeline.components.values():
        if isinstance(network, torch.nn.Module):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pipeline


def stages(pipeline: FacePipeline, info: ModelInfo, references: int) -> Stages:
    """What is computed of a face, on noise: it takes as long."""
    generator = torch.Generator().manual_seed(0)
    side = info.resolution
    pictures = torch.rand(1 + references, 3, side, side, generator=generator) * 2 - 1
    lq, good = pictures[:1], pictures[1:]
    small = pipeline.shrink(lq)
    shown = repeated(pipeline.encode_references(good[:1]), references) if references else None
    predict, shape = pipeline.prediction(small, shown, 1.0)
    latents, timestep = torch.randn(shape, generator=generator), torch.tensor(500)
    work: Stages = {"encode LQ": lambda: encode(pipeline.vae, small)}
    if references:
        work["encode references"] = lambda: pipeline.encode_references(good).keys[0]
    work |= {"step": lambda: predict(latents, timestep), "decode": lambda: pipeline.decode(latents)}
    if pipeline.fusion is not None or pipeline.detail is not None:
        decoded = pipeline.decode(latents)
        work["correct"] = partial(
            pipeline.correct, decoded, latents, lq, *pipeline.hints(decoded, lq, info.crisp, shown)
        )
    return work


def repeated(one: ReferenceCache, times: int) -> ReferenceCache:
    """A cache of one reference as one of several: a step takes as long, and the others need not be encoded."""
    return replace(one.changed(lambda memory: memory.repeat(1, times, 1)), references=times)


@torch.no_grad()
def measure(backends: dict[str, Stages], rounds: int) -> dict[tuple[str, str], float]:
    """Median CPU seconds of each backend's stages."""
    durations: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, of_one in backends.items():
            for stage, work in of_one.items():
                start = time.process_time()
                work()
                durations.setdefault((name, stage), []).append(time.process_time() - start)
    return {key: statistics.median(values) for key, values in durations.items()}


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
