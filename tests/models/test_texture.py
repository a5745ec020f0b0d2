"""Texture transferred from references: where it fits, of whom, how much, and none where there is nobody."""

import pytest
import torch
from torch import Tensor

from faceref.models.texture import blur, luminance, remember_texture, transfer_texture


def photograph(seed: int, side: int = 64) -> Tensor:
    """A smooth picture with fine texture, [1, 3, side, side] in [-1, 1]."""
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    smooth, fine = blur(noise[:1], 5.0), blur(noise[1:], 0.7)
    return (0.5 * smooth / smooth.std() + 0.1 * fine / fine.std()).clamp(-1, 1)


def restored(picture: Tensor) -> Tensor:
    """As a model draws it: without its texture."""
    return blur(picture, 3.0)


def error(picture: Tensor, truth: Tensor) -> float:
    """Of the luminance, which is what is transferred."""
    return float(luminance(picture - truth).square().mean().sqrt())


def transferred(picture: Tensor, *references: Tensor, share: float = 1.0, counts: Tensor | None = None) -> Tensor:
    memory = remember_texture(torch.stack(references, dim=1))
    return transfer_texture(picture, *memory, torch.ones(1, len(references)) if counts is None else counts, share)


def test_a_reference_that_is_the_same_photograph_gives_back_most_of_what_was_lost():
    truth = photograph(0)
    soft, inside = restored(truth), (..., slice(16, 48), slice(16, 48))
    missing = luminance(truth) - blur(luminance(truth), 2.0)  # in the bands that are transferred
    found = luminance(transferred(soft, truth) - soft)
    assert torch.corrcoef(torch.stack([found[inside].flatten(), missing[inside].flatten()]))[0, 1] > 0.9
    assert error(transferred(soft, truth)[inside], truth[inside]) < 0.8 * error(soft[inside], truth[inside])


def test_around_the_face_nothing_is_added():
    truth = photograph(0)
    added = (transferred(restored(truth), truth) - restored(truth)).abs().amax(dim=(0, 1))
    assert added[:, :2].max() == added[:, -2:].max() == 0
    assert added[32, 32] > 0


@pytest.mark.parametrize(("down", "right"), [(2, -4), (-6, 2), (4, 6), (0, 8)])
def test_it_is_found_where_the_reference_has_it(down: int, right: int):
    truth = photograph(0, 96)
    soft, inside = restored(truth), (..., slice(24, 72), slice(24, 72))
    missing = (luminance(truth) - blur(luminance(truth), 2.0))[inside].flatten()

    def likeness(reference: Tensor) -> float:
        found = luminance(transferred(soft, reference) - soft)[inside].flatten()
        return float(torch.corrcoef(torch.stack([found, missing]))[0, 1])

    assert likeness(truth.roll((down, right), dims=(2, 3))) > 0.6
    assert likeness(photograph(1, 96)) < 0.2


def test_of_several_it_is_taken_from_the_one_that_fits():
    truth, other = photograph(0), photograph(1)
    alone, both = transferred(restored(truth), truth), transferred(restored(truth), other, truth)
    assert error(both, alone) < 0.5 * error(transferred(restored(truth), other), alone)


def test_what_is_absent_gives_nothing():
    truth, other = photograph(0), photograph(1)
    soft = restored(truth)
    counts = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(transferred(soft, truth, other, counts=counts), transferred(soft, other))
    assert torch.equal(transferred(soft, truth, counts=torch.zeros(1, 1)), soft), "nobody is there"


def test_the_share_is_of_what_is_added():
    truth = photograph(0)
    soft = restored(truth)
    none, half, whole = (transferred(soft, truth, share=share) for share in (0.0, 0.5, 1.0))
    assert torch.equal(none, soft)
    torch.testing.assert_close(half, (soft + whole) / 2)


def test_a_picture_that_has_its_texture_is_given_little_more():
    truth = photograph(0)
    added = error(transferred(truth, truth), truth)
    assert added < 0.3 * error(transferred(restored(truth), truth), restored(truth))


def test_texture_is_no_stronger_than_the_contrast_of_the_picture_allows():
    truth = photograph(0)
    soft = restored(truth)
    strong, weak = (error(transferred(by * soft, truth), by * soft) for by in (1.0, 0.25))
    assert weak == pytest.approx(0.25 * strong, rel=0.2)


def test_each_face_of_a_batch_has_its_own_references():
    one, other = photograph(0), photograph(1)
    memory = remember_texture(torch.stack([one, other]))
    together = transfer_texture(torch.cat([restored(one), restored(other)]), *memory, torch.ones(2, 1))
    torch.testing.assert_close(together, torch.cat([transferred(restored(x), x) for x in (one, other)]))
