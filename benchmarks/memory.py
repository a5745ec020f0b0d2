"""Peak memory of a restoration with and without `--memory low`: the released sizes, random weights, on the CPU."""

import argparse
import resource
import subprocess
import sys
import time
from typing import get_args

import torch
from diffusers import DDIMScheduler, VQModel
from diffusers.utils import logging

from faceref.compute import DtypeName, Memory
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

LEVELS = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
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
    pipeline = released_sizes().to(getattr(torch, given.dtype))
    if given.mode == "low":
        pipeline.enable_vae_tiling()
    weights = peak_memory()
    pixels = torch.rand(given.faces + given.references, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = time.perf_counter()
    cache = pipeline.encode_references(pixels[given.faces :])
    generator = torch.Generator().manual_seed(0)
    pipeline(pixels[: given.faces], cache, steps=given.steps, guidance=1.5, generator=generator, output_type="pt")
    seconds = time.perf_counter() - start
    print(f"{given.mode}\t{weights:.0f}\t{peak_memory():.0f}\t{seconds:.0f}", flush=True)


def released_sizes() -> ReFLDMPipeline:
    """A model of the sizes of refldm.ckpt and vqgan.ckpt (PAPERS.md, "Released checkpoints"), seed 0."""
    torch.manual_seed(0)
    unet = ReferenceUNet(
        in_channels=16,
        out_channels=8,
        block_out_channels=(160, 320, 320, 640),
        layers_per_block=2,
        down_block_types=LEVELS,
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
    )
    vae = VQModel(
        block_out_channels=(128, 128, 256, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=8,
        num_vq_embeddings=8192,
    )
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False)
    return ReFLDMPipeline(unet.eval(), vae.eval(), scheduler)  # type: ignore[arg-type]


def peak_memory() -> float:
    """Of this process so far, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
