"""Peak memory of a restoration with and without `--memory low`: the released sizes, random weights, on the CPU."""

import argparse
import resource
import subprocess
import sys
import time
from typing import get_args

import torch
from diffusers.utils import logging

from faceref.bench.random_models import random_refldm
from faceref.compute import DtypeName, Memory

MODES = get_args(Memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, help="measure this one here; by default each in a process of its own")
    parser.add_argument("--dtype", choices=get_args(DtypeName)[1:], default="float32")
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--faces", type=int, default=1, help="restored together")
    given = parser.parse_args()
    if given.mode is None:
        print("memory\tweights, MiB\tpeak, MiB\tseconds", flush=True)
        for mode in MODES:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--mode", mode], check=True)
        return
    logging.set_verbosity_error()  # it would rather be loaded in the number format
    pipeline = random_refldm("cpu", given.dtype, given.mode)
    weights = peak_memory()
    pixels = torch.rand(given.faces + given.references, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = time.perf_counter()
    cache = pipeline.encode_references(pixels[given.faces :])
    generator = torch.Generator().manual_seed(0)
    sampling = {"num_inference_steps": given.steps, "guidance_scale": 1.5, "generator": generator}
    pipeline(pixels[: given.faces], cache, output_type="pt", **sampling)
    seconds = time.perf_counter() - start
    print(f"{given.mode}\t{weights:.0f}\t{peak_memory():.0f}\t{seconds:.0f}", flush=True)


def peak_memory() -> float:
    """Of this process so far, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
