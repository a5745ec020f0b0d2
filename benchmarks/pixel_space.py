"""Seconds a denoising step takes in latent space and in pixel space: `python benchmarks/pixel_space.py [MODEL]`.

LD-BFR's paper says that a latent diffusion takes far fewer seconds than one of equal depth on pixels. The second
network here has the first's blocks and channels, but denoises the picture itself with the low-quality one beside it;
how fast it is does not depend on its weights, which are random.
"""

import argparse

import torch
from diffusers import UNet2DModel
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer

from faceref.checkpoints.store import load_pipeline

REPETITIONS = 5


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="small", help="small or a model folder of the family refldm")
    pipeline, info = load_pipeline(parser.parse_args().model)
    config = pipeline.unet.config
    shared = ("block_out_channels", "layers_per_block", "down_block_types", "up_block_types", "attention_head_dim")
    pixels = UNet2DModel(
        sample_size=info.resolution, in_channels=6, out_channels=3, **{key: config[key] for key in shared}
    )
    networks = {"latents": (pipeline.unet, config["sample_size"]), "pixels": (pixels.eval(), info.resolution)}
    table = Table(title=f"{info.name}, {torch.get_num_threads()} threads: one denoising step")
    for column in ("on", "size", "million parameters", "seconds a step"):
        table.add_column(column, justify="right")
    for name, (network, side) in networks.items():
        channels = network.conv_in.in_channels
        parameters = sum(weight.numel() for weight in network.parameters()) / 1e6
        given = {"network": network, "sample": torch.randn(1, channels, side, side)}
        timer = Timer("network(sample, 500)", globals=given, num_threads=torch.get_num_threads())
        table.add_row(name, f"{side}x{side}", f"{parameters:.1f}", f"{timer.timeit(REPETITIONS).mean:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
