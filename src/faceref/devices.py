"""Where networks compute."""

import torch


def best_device() -> torch.device:
    """The first CUDA device, Apple's, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
