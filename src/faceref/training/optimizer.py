"""AdamW for the modules of a stage, each with its own learning rate, which is a function of the step."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from faceref.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from the full rate to `final_ratio` of it at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_ratio + (1 - config.final_ratio) * cosine)


def make_optimizer(modules: Iterable[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """One group of parameters for each module; `set_rates` says before each step how fast they learn."""
    groups = [{"params": list(module.parameters())} for module in modules]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


def set_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    """The learning rate of each module, in the order that the optimizer was made with."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
