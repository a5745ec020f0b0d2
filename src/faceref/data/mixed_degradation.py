"""Batches of pictures degraded in one of several ways each: by the papers' equation, or as photographs are."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor

from faceref.data.degradation import DegradationRanges, apply_degradations
from faceref.data.photographic import PhotographicRanges, photograph


def _kind(ranges: Any) -> str:
    """By which of the classes below pydantic is to read what a configuration says; only `kind` tells them apart."""
    if isinstance(ranges, list | tuple):
        return "several"
    photographic = "kind" in ranges if isinstance(ranges, Mapping) else isinstance(ranges, PhotographicRanges)
    return "photographic" if photographic else "equation"


Ranges = Annotated[
    Annotated[DegradationRanges, Tag("equation")] | Annotated[PhotographicRanges, Tag("photographic")],
    Discriminator(_kind),
]
AnyRanges = Annotated[
    Annotated[DegradationRanges, Tag("equation")]
    | Annotated[PhotographicRanges, Tag("photographic")]
    | Annotated[tuple[Ranges, ...], Field(min_length=1), Tag("several")],
    Discriminator(_kind),
]


def degrade_batch(images: Tensor, ranges: AnyRanges, generator: torch.Generator) -> Tensor:
    """Degrade a batch, each picture with its own parameters drawn from `ranges` brought to the pictures' width.

    Of several ranges, each picture's are one, drawn evenly.
    images [B, 3, H, W] in [-1, 1] on any device -> the same shape, float32, on the 8-bit grid. Every random number
    derives from `generator`, which may live on another device. Agrees with `degrade` up to JPEG's integer arithmetic.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    rng = np.random.default_rng(seed)
    noise = torch.Generator(images.device).manual_seed(seed)
    given = ranges if isinstance(ranges, tuple) else (ranges,)
    scaled = [one.at(images.shape[-1]) if isinstance(one, DegradationRanges) else one for one in given]
    chosen = [scaled[0] if len(scaled) == 1 else scaled[rng.integers(len(scaled))] for _ in images]
    drawn = [one.sample(rng) if isinstance(one, DegradationRanges) else one for one in chosen]
    by_equation = [(i, one) for i, one in enumerate(drawn) if not isinstance(one, PhotographicRanges)]
    if len(by_equation) == len(drawn):
        return apply_degradations(images, [one for _, one in by_equation], noise)
    result = torch.empty_like(images, dtype=torch.float32)
    if by_equation:
        rows = [i for i, _ in by_equation]
        result[rows] = apply_degradations(images[rows], [one for _, one in by_equation], noise)
    kinds: list[PhotographicRanges] = []
    for one in given:
        if isinstance(one, PhotographicRanges) and one not in kinds:
            kinds.append(one)
            if rows := [i for i, own in enumerate(drawn) if own == one]:
                result[rows] = photograph(images[rows], one, noise)
    return result
