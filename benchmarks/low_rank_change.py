"""What a model was trained to be from another, as the matrices of low rank that ship beside the other's weights.

    python benchmarks/low_rank_change.py runs/small-together/model small --rank 32 -o change

writes NETWORK/low_rank.safetensors for each network that differs; put beside the weights of the other model's networks
it makes these the new ones (faceref.models.low_rank). They are of those weights alone: where the other model has such
matrices already, both changes are in the new ones, and take the sum of their ranks.
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from faceref.checkpoints.info import find_model
from faceref.checkpoints.store import load_pipeline
from faceref.models.low_rank import FILE, save_change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the trained one")
    parser.add_argument("of", help="the one that its training began from, with low_rank: {rank: RANK, of: OF}")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        unchanged = Path(scratch) / "model"
        shutil.copytree(find_model(arguments.of), unchanged, ignore=shutil.ignore_patterns(FILE))
        networks, bases = (load_pipeline(name)[0].components for name in (arguments.model, unchanged))
    for name, network in networks.items():
        if isinstance(network, nn.Module) and not same(network, bases[name]):
            (arguments.out / name).mkdir(parents=True, exist_ok=True)
            path = arguments.out / name / FILE
            save_change(network, bases[name], arguments.rank, path)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def same(one: nn.Module, other: nn.Module) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    return all(torch.equal(weights[name], others[name]) for name in weights | others)


if __name__ == "__main__":
    main()
