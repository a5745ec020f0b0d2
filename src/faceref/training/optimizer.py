"""AdamW for the modules of a stage, each with its own learning rate, which is a function of the step."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from faceref.errors import CheckpointError
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


def moments_of(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What AdamW remembers of each parameter that has moved, as TURN.INDEX.NAME; rates are functions of the step."""
    return {
        f"{turn}.{index}.{name}": value
        for turn, optimizer in optimizers.items()
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def load_moments(optimizers: Mapping[str, torch.optim.Optimizer], moments: Mapping[str, Tensor]) -> None:
    """Give optimizers what `moments_of` saved. Raises CheckpointError where it does not fit their parameters."""
    states: dict[str, dict[int, dict[str, Tensor]]] = {turn: {} for turn in optimizers}
    for key, value in moments.items():
        turn, index, name = key.split(".")
        if turn not in states:
            raise CheckpointError(f"The checkpoint does not belong to this configuration: {turn} is no turn of it")
        states[turn].setdefault(int(index), {})[name] = value
    for turn, optimizer in optimizers.items():
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, values in states[turn].items():
            if index >= len(parameters) or values.keys() != {"step", "exp_avg", "exp_avg_sq"}:
                raise CheckpointError(f"The checkpoint's optimizer {turn} has other parameters")
            for name in ("exp_avg", "exp_avg_sq"):
                if values[name].shape != parameters[index].shape:
                    raise CheckpointError(f"The checkpoint's optimizer {turn} has parameters of other sizes")
                # laid out in memory as the parameter is: then every step computes the same to the bit
                values[name] = torch.empty_like(parameters[index]).copy_(values[name])
        optimizer.load_state_dict(optimizer.state_dict() | {"state": states[turn]})
