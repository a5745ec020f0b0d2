"""Tables 2 and 6 of ReF-LDM, time and memory: the four mechanisms at 5 references, and CacheKV at 1, 3, 5 and 8.

    OMP_NUM_THREADS=1 python benchmarks/paper_tables.py

The released sizes with random weights, guidance 1.5, float32, on the CPU. CPU seconds, which other programs disturb
least, of each part once; 100 steps, as many as the paper takes, are worked out from one. The paper's are seconds and
gigabytes of the authors' GPU, so that only the ratios can be compared.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from faceref.bench.random_models import random_refldm
from faceref.bench.stopwatch import peak_memory, reset_peak_memory
from faceref.models.autoencoder import decode, encode
from faceref.models.mechanisms import with_mechanism
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

CPU = torch.device("cpu")
STEPS = 100
# PAPERS.md: mechanism -> seconds, GB
PAPER = {
    "channel_concat": (4.17, 1.77),
    "cross_attention": (14.54, 2.80),
    "spatial_concat": (58.36, 7.44),
    "cache_kv": (12.15, 2.87),
}
COUNTS = (1, 3, 5, 8)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64, help="of the latents; 64 is 512 px")
    side: int = parser.parse_args().side
    pipeline = random_refldm()
    assert isinstance(pipeline, ReFLDMPipeline)
    pipeline.use_channels_last()
    picture = torch.rand(1, 3, 8 * side, 8 * side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoding, latent = timed(lambda: encode(pipeline.vae, picture))
    decoding, _ = timed(lambda: decode(pipeline.vae, latent))
    console = Console()
    console.print(f"encoding a picture {encoding:.2f} s, decoding {decoding:.2f} s")
    cost = {}
    for name in PAPER:
        unet = pipeline.unet if name == "cache_kv" else with_mechanism(pipeline.unet, name, 5)
        cost[name] = denoising(unet, latent, 5)
        console.print(f"{name}: {cost[name]}")
    kv = sum_of(cost["cache_kv"], encoding, decoding, 5)
    table = Table("Table 2: mechanism, 5 references", "encode", "a step", "in all", "ratio", "paper", "MiB", "paper GB")
    for name, (first, step, memory) in cost.items():
        whole = sum_of(cost[name], encoding, decoding, 5)
        seconds, gigabytes = PAPER[name]
        ratios = f"{whole / kv:.2f}", f"{seconds / PAPER['cache_kv'][0]:.2f}"
        told = f"{first:.2f}", f"{step:.2f}", f"{whole:.0f}", *ratios, f"{memory / 2**20:.0f}", str(gigabytes)
        table.add_row(name, *told)
    console.print(table)
    table = Table("Table 6: references", "encode", "a step", "in all", "MiB", "one more, share of a step")
    before: tuple[int, float] | None = None
    for count in COUNTS:
        first, step, memory = denoising(pipeline.unet, latent, count)
        slope = "" if before is None else f"{(step / before[1] - 1) / (count - before[0]):.1%}"
        whole = sum_of((first, step, memory), encoding, decoding, count)
        table.add_row(str(count), f"{first:.2f}", f"{step:.2f}", f"{whole:.0f}", f"{memory / 2**20:.0f}", slope)
        before = count, step
    console.print(table)


def denoising(unet: ReferenceUNet, latent: Tensor, count: int) -> tuple[float, float, int]:
    """Seconds to encode references' latents, seconds of a guided step, and the peak memory of both in bytes."""
    unet = unet.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload] - it does take it
    references = latent[:, None].expand(-1, count, -1, -1, -1)
    reset_peak_memory(CPU)
    seconds, cache = timed(lambda: unet.encode_references(references))
    zero = unet.encode_references(torch.zeros_like(references[:, :1]))
    null = zero.with_multiplicity(torch.tensor([[float(count)]]))
    sample = torch.cat([latent, latent], dim=1)
    step, _ = timed(lambda: unet.forward_each(sample, 500, (cache, null)))
    return seconds, step, peak_memory(CPU)


def sum_of(cost: tuple[float, float, int], encoding: float, decoding: float, count: int) -> float:
    """Seconds of a restoration of STEPS steps."""
    first, step, _ = cost
    return (1 + count) * encoding + first + STEPS * step + decoding


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, the shorter of two runs, and the result."""
    durations, result = [], None
    for _ in range(2):
        start = time.process_time()
        result = work()
        durations.append(time.process_time() - start)
    assert result is not None
    return min(durations), result


if __name__ == "__main__":
    main()
