"""Degradations as photographs have them: each by its own draws, and beside those of the equation."""

import pytest
import torch
from torch import Tensor

from faceref.data.degradation import DegradationRanges
from faceref.data.mixed_degradation import degrade_batch
from faceref.data.photographic import PhotographicRanges, photograph

SIDE = 64
HARMLESS = PhotographicRanges(
    side=(SIDE, SIDE), focus=(0.01, 0.01), shake=0.01, noise=(0, 0), sharpening=0.2, quality=(100, 100)
)


def pattern(pictures: int) -> Tensor:
    """Soft blobs [B, 3, SIDE, SIDE] in [-1, 1], all alike."""
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic").expand(pictures, -1, -1, -1)


def degraded(ranges: PhotographicRanges, pictures: int = 24, seed: int = 0) -> Tensor:
    return photograph(pattern(pictures), ranges, torch.Generator().manual_seed(seed))


def errors(results: Tensor) -> Tensor:
    return (results - pattern(len(results))).square().mean((1, 2, 3)).sqrt()


def test_the_draws_are_the_generators_and_each_pictures_own():
    results = degraded(PhotographicRanges())
    assert torch.equal(results, degraded(PhotographicRanges()))
    assert not torch.equal(results, degraded(PhotographicRanges(), seed=1))
    assert len({tuple(one.flatten()[:50].tolist()) for one in results}) == len(results)


def test_results_are_8_bit_pictures():
    levels = (degraded(PhotographicRanges()) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert levels.min() >= 0
    assert levels.max() <= 255.001


def test_a_picture_that_nothing_befalls_stays_what_it_is():
    assert (errors(degraded(HARMLESS)) < 0.03).sum() > 12, "but for those that are saved smaller once more"


@pytest.mark.parametrize(
    "stronger",
    [{"side": (8, 10)}, {"focus": (4.0, 5.0), "shake": 6.0}, {"noise": (20, 22)}, {"quality": (1, 3)}],
    ids=lambda change: next(iter(change)),
)
def test_each_kind_of_damage_does_harm(stronger):
    before, after = errors(degraded(HARMLESS)), errors(degraded(HARMLESS.model_copy(update=stronger)))
    assert after.mean() > 1.5 * before.mean()


@pytest.mark.parametrize("kind", ["sharpening", "shake"])
def test_what_is_set_to_zero_does_not_happen(kind):
    """However blurred: `sharpening` and `shake` begin above their own zero."""
    ranges = HARMLESS.model_copy(update={"focus": (1.0, 1.5), kind: 0.0})
    assert torch.equal(degraded(ranges), degraded(ranges.model_copy(update={kind: 1e-6})))
    assert not torch.equal(degraded(ranges), degraded(ranges.model_copy(update={kind: 3.0})))


def test_a_flat_picture_keeps_its_colour():
    flat = torch.full((8, 3, SIDE, SIDE), 0.2)
    without_noise = PhotographicRanges(noise=(0, 0), quality=(90, 100))
    result = photograph(flat, without_noise, torch.Generator().manual_seed(0))
    torch.testing.assert_close(result, flat, atol=0.03, rtol=0)


def test_a_batch_may_be_degraded_in_both_ways():
    equation = DegradationRanges(sigma=(0, 0), downsample=(1, 1), noise=(0, 0), quality=(100, 100))
    tiny = PhotographicRanges(side=(6, 6))
    mixed = degrade_batch(pattern(40), (equation, tiny), torch.Generator().manual_seed(0))
    harmed = errors(mixed) > 0.08
    assert 10 < harmed.sum() < 30
    alone = degrade_batch(pattern(8), tiny, torch.Generator().manual_seed(0))
    assert (errors(alone) > 0.08).all()
