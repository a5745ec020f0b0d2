"""Changes of a network that take little room: LoRA (Hu et al. 2021, arXiv 2106.09685), of convolutions as well.

A weight becomes W + B A. W stays as it is, and of so many rows and columns B A takes `rank` each, some megabytes where
the network takes tens. Weights that are as small as that themselves, and all vectors, change as they are.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import DiffusionPipeline, ModelMixin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from faceref.errors import UsageError

FILE = "low_rank.safetensors"  # beside a network's weights: what it differs by from them
LOST = 0.05  # the share of a change that may be lost without a word
UP, DOWN = ".up", ".down"  # behind a weight's name there: B and A

log = logging.getLogger(__name__)

Pipeline = TypeVar("Pipeline", bound=DiffusionPipeline)


class LowRankChange(nn.Module):
    """W -> W + B A, for a weight of any number of dimensions, the first of which are the rows.

    A parametrization (`torch.nn.utils.parametrize`). A's elements have a variance of 1 / rank, so that B at a learning
    rate changes W about as fast as W itself would change at that rate.
    """

    def __init__(self, changed: Tensor, weight: Tensor, rank: int) -> None:
        """changed: what W + B A is to be, of `weight`; as near as the rank allows."""
        super().__init__()
        up, down = _factors((changed - weight).flatten(1), rank)
        scale = (down.shape[1] / rank) ** 0.5
        self.up, self.down = nn.Parameter(up / scale), nn.Parameter(down * scale)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + (self.up @ self.down).view_as(weight)


def hold_to_rank(network: nn.Module, base: nn.Module | None, rank: int) -> None:
    """Have a network differ from `base` by no more than this rank, now and when trained.

    What it differs by already stays, but for what the rank does not allow. Raises UsageError where `base` is none of
    the same layers.
    """
    weights = {} if base is None else dict(base.named_parameters())
    if _shapes(weights) != _shapes(dict(network.named_parameters())):
        raise UsageError(
            "low_rank.of has other layers than what is trained", hint="name the model that the training begins from"
        )
    differed, lost = 0.0, 0.0
    for name, layer, parameter in _matrices(network, rank):
        before = getattr(layer, parameter).detach().clone()
        weight = weights[f"{name}.{parameter}" if name else parameter].detach()
        change = LowRankChange(before, weight, rank)
        differed += float((before - weight).square().sum())
        lost += float((before - change(weight).detach()).square().sum())
        getattr(layer, parameter).data.copy_(weight)
        parametrize.register_parametrization(layer, parameter, change)
        layer.parametrizations[parameter].original.requires_grad_(False)  # type: ignore[index, union-attr]
    if lost > LOST**2 * differed:
        log.warning(
            "%.0f %% of what was learnt since low_rank.of do not fit into a rank of %d and are lost: begin from it, or "
            "give a larger rank",
            100 * (lost / differed) ** 0.5,
            rank,
        )


def merged(pipeline: Pipeline) -> Pipeline:
    """The pipeline with networks whose weights are those that they compute with; the given one stays what it is."""
    networks = {
        name: _merged(part)
        for name, part in pipeline.components.items()
        if isinstance(part, ModelMixin) and any(map(parametrize.is_parametrized, part.modules()))
    }
    return type(pipeline)(**pipeline.components | networks) if networks else pipeline


def save_change(network: nn.Module, base: nn.Module, rank: int, path: Path) -> None:
    """Write what a network differs by from `base`, in half precision: matrices of this rank, and all else as it is."""
    weights = dict(base.named_parameters())
    tensors = {name: value.detach() for name, value in network.named_parameters()}
    for name, _, parameter in _matrices(network, rank):
        whole = f"{name}.{parameter}" if name else parameter
        difference = tensors.pop(whole) - weights[whole].detach()
        tensors[whole + UP], tensors[whole + DOWN] = _factors(difference.flatten(1), rank)
    save_file({name: value.half().contiguous() for name, value in tensors.items()}, path)


@torch.no_grad()
def apply_change(network: nn.Module, path: Path) -> None:
    """Give a network what `save_change` wrote of another that began as it. Raises ValueError if it is not for it."""
    parameters, tensors = dict(network.named_parameters()), load_file(path)
    for name, value in tensors.items():
        whole = name.removesuffix(UP).removesuffix(DOWN)
        if whole not in parameters:
            raise ValueError(f"{path.name} changes {whole}, which is not there")
        weight = parameters[whole]
        if name.endswith(UP):
            change = value.float() @ tensors[whole + DOWN].float()
            weight.copy_(weight.float() + change.view_as(weight))
        elif not name.endswith(DOWN):
            weight.copy_(value.view_as(weight))


def _shapes(weights: dict[str, nn.Parameter]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _matrices(network: nn.Module, rank: int) -> Iterator[tuple[str, nn.Module, str]]:
    """The weights that have fewer numbers in two factors of this rank: their layer's name, it, and their own name."""
    for name, layer in list(network.named_modules()):
        for parameter, weight in list(layer.named_parameters(recurse=False)):
            if weight.ndim > 1 and rank * (weight.shape[0] + weight[0].numel()) < weight.numel():
                yield name, layer, parameter


def _factors(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The nearest B A of this rank to a matrix: B, and A with rows of length 1, random ones if it is nothing."""
    if not difference.any():
        down = torch.randn(rank, difference.shape[1]) / difference.shape[1] ** 0.5
        return difference.new_zeros(len(difference), rank), down.to(difference)
    u, s, v = torch.linalg.svd(difference.float(), full_matrices=False)
    return u[:, :rank] * s[:rank], v[:rank]


@torch.no_grad()
def _merged(network: ModelMixin) -> ModelMixin:
    """A new network: a copy of a parametrized one shares its class, from which merging takes the parametrization."""
    plain = cast(Any, type(network)).from_config(network.config).to(network.device, network.dtype).eval()
    for name, value in plain.state_dict().items():
        layer, _, own = name.rpartition(".")
        value.copy_(getattr(network.get_submodule(layer), own))
    return plain
