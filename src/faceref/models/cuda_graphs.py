"""CUDA graphs of the denoiser: a step is one launch in place of thousands, for which Python takes longer than the GPU.

A graph reads and writes fixed memory: what a restoration tells the network is copied there.
"""

import logging
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet

logger = logging.getLogger(__name__)

KEPT = 2  # graphs, with guidance and without: each holds the memory of a pass
WARM_UPS = 3  # before a capture, as torch's documentation has it


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A denoiser and what it is told in all steps of one restoration.

    lq: LQ latents [B, C, h, w]. references: one cache, or None, for each prediction. features: q' [B, c, s, s], if any.
    """

    unet: ReferenceUNet
    lq: Tensor
    references: tuple[ReferenceCache | None, ...]
    features: tuple[Tensor, ...] = ()

    def __call__(self, x: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        """Noisy latents [B, C, h, w] -> the network's output, of the same shape, with each of the references."""
        sample = torch.cat([x.to(self.lq.dtype), self.lq], dim=1)
        if len(self.references) == 1:
            return (self.unet(sample, timestep, self.references[0], *self.features).sample,)
        return self.unet.forward_each(sample, timestep, self.references, *self.features)  # type: ignore[arg-type]

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that it is told."""
        of_caches = [tensor for cache in self.references if cache is not None for tensor in cache.tensors]
        return self.lq, *of_caches, *self.features

    @cached_property
    def key(self) -> tuple:
        """Equal for evaluations that one graph computes: of the same weights, in the same memory, and the same shapes.

        Weights that are moved, or laid out anew, lie elsewhere.
        """
        weights = tuple((one.data_ptr(), one.stride()) for one in self.unet.parameters())
        shapes = tuple((one.shape, one.dtype, one.device) for one in self.tensors)
        caches = [None if one is None else (one.holds, len(one), one.multiplicity is None) for one in self.references]
        return weights, shapes, tuple(caches)

    def copy(self) -> "Evaluation":
        """The same with memory of its own for what it is told."""
        caches = tuple(None if cache is None else cache.changed(Tensor.clone) for cache in self.references)
        return replace(
            self, lq=self.lq.clone(), references=caches, features=tuple(one.clone() for one in self.features)
        )


class Graphs:
    """Computes evaluations on CUDA by graphs, the KEPT last ones, and elsewhere as they are. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._graphs: OrderedDict[tuple, _Graph] = OrderedDict()
        self._begun: WeakSet[Evaluation] = WeakSet()  # of which one step was computed
        self._failed = False

    def __reduce__(self) -> tuple[type["Graphs"], tuple]:
        """A copy, in another process perhaps, has none yet."""
        return Graphs, ()

    def __call__(self, evaluation: Evaluation, x: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        """What the evaluation gives for x [B, C, h, w] and a timestep, but for rounding."""
        if x.is_cuda and not self._failed and _can_be_captured(evaluation.unet):
            with self._lock, torch.cuda.device(x.device):
                graph = self._graph(evaluation, x, timestep)
                if graph is not None:
                    return graph.replay(evaluation, x, timestep)
        return evaluation(x, timestep)

    def clear(self) -> None:
        """Let all graphs go, and their memory, as soon as no stream reads it."""
        with self._lock:
            while self._graphs:
                self._graphs.popitem()[1].done.synchronize()

    def _graph(self, evaluation: Evaluation, x: Tensor, timestep: Tensor) -> "_Graph | None":
        """One kept, or captured in a restoration's second step: a single step is faster without."""
        key = (evaluation.key, x.shape, x.dtype, timestep.dtype)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        if evaluation not in self._begun:
            self._begun.add(evaluation)
            return None
        if len(self._graphs) >= KEPT:
            unused = next((one for one, graph in self._graphs.items() if graph.loaded() is None), None)
            if unused is None:  # other restorations are amid their steps
                return None
            self._graphs.pop(unused).done.synchronize()
        try:
            self._graphs[key] = _Graph(evaluation, x, timestep)
        except RuntimeError:
            self._failed = True
            logger.warning(
                "No CUDA graph of the denoiser could be made; restoring goes on without",
                exc_info=logger.isEnabledFor(logging.INFO),
            )
            return None
        return self._graphs[key]


class _Graph:
    """One captured pass, and the memory that it reads (an evaluation, x and timestep) and writes (outputs)."""

    @torch.inference_mode(False)
    @torch.no_grad()
    def __init__(self, evaluation: Evaluation, x: Tensor, timestep: Tensor) -> None:
        self.loaded = weakref.ref(evaluation)  # whose inputs lie there; None when its restoration is over
        self.evaluation, self.x = evaluation.copy(), x.clone()
        self.timestep = torch.zeros((), dtype=timestep.dtype, device=x.device)
        self.done = torch.cuda.Event()  # the last replay, on whatever stream
        self.graph = torch.cuda.CUDAGraph()
        stream, before = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.evaluation(self.x, self.timestep)
        before.wait_stream(stream)
        try:  # thread_local: what other threads do meanwhile is none of the capture's business
            with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                self.outputs = self.evaluation(self.x, self.timestep)
        finally:
            torch.cuda.set_stream(before)  # a capture that fails at its end stays on its own

    def replay(self, evaluation: Evaluation, x: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        """The outputs [B, C, h, w], for the caller to keep. One thread at a time."""
        torch.cuda.current_stream().wait_event(self.done)
        if self.loaded() is not evaluation:
            for own, given in zip(self.evaluation.tensors, evaluation.tensors, strict=True):
                own.copy_(given)
            self.loaded = weakref.ref(evaluation)
        self.x.copy_(x)
        self.timestep.fill_(timestep)  # waits for nothing, wherever the timestep lies
        self.graph.replay()
        outputs = tuple(one.clone() for one in self.outputs)
        self.done.record()
        return outputs


def _can_be_captured(unet: ReferenceUNet) -> bool:
    """Not with gradients, autocast (it caches weights), counted operations, or layers that hooks move (offloading)."""
    watched = torch.is_grad_enabled() or torch.is_autocast_enabled("cuda") or is_in_torch_dispatch_mode()
    hooks = ("_hf_hook", "_diffusers_hook")  # accelerate's, and diffusers'
    return not (watched or any(hasattr(layer, hook) for layer in unet.modules() for hook in hooks))
