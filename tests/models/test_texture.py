"""Texture found in references: where they show the same, of whom, how strong, how like, and none where nobody is."""

import pytest
import torch
from torch import Tensor

from faceref.models.texture import GAIN, blur, find_texture, luminance, remember_texture

EDGES = (0.0, 1.0, 2.0, 4.0)  # of the bands: what lies between these Gaussians


def photograph(seed: int, side: int = 64) -> Tensor:
    """A smooth picture with fine texture, [1, 3, side, side] in [-1, 1]."""
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    smooth, fine = blur(noise[:1], 5.0), blur(noise[1:], 0.7)
    return (0.5 * smooth / smooth.std() + 0.1 * fine / fine.std()).clamp(-1, 1)


def restored(picture: Tensor) -> Tensor:
    """As a model draws it: without its texture."""
    return blur(picture, 3.0)


def lost(picture: Tensor) -> Tensor:
    """What lies between its Gaussians, [1, 3, H, W]: the finest first."""
    grey = luminance(picture)
    finer = [blur(grey, deviation) if deviation else grey for deviation in EDGES]
    return torch.cat([finer[i] - finer[i + 1] for i in range(3)], dim=1)


def found(picture: Tensor, *references: Tensor, counts: Tensor | None = None) -> Tensor:
    memory = remember_texture(torch.stack(references, dim=1))
    return find_texture(picture, *memory, torch.ones(1, len(references)) if counts is None else counts)


def inner(x: Tensor, border: int = 16) -> Tensor:
    return x[..., border:-border, border:-border]


def alike(one: Tensor, other: Tensor) -> float:
    """Their correlation."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_the_same_photograph_gives_back_each_band_that_was_lost_at_its_gain():
    truth = photograph(0)
    bands, wanted = inner(found(restored(truth), truth)[:, :3]), inner(lost(truth))
    for band, one in zip(bands[0], wanted[0], strict=True):
        assert alike(band, one) > 0.9
        assert (band * one).sum() / one.square().sum() == pytest.approx(GAIN, rel=0.15), "of each pixel in it"


@pytest.mark.parametrize(("down", "right"), [(2, -4), (-6, 2), (4, 6), (0, 8)])
def test_it_is_found_where_the_reference_has_it(down: int, right: int):
    truth = photograph(0, 96)
    missing = inner(lost(truth)[:, :2], 24)  # not the edges, which another photograph may have, too

    def likeness(reference: Tensor) -> float:
        return alike(inner(found(restored(truth), reference)[:, :2], 24), missing)

    assert likeness(truth.roll((down, right), dims=(2, 3))) > 0.6
    assert likeness(photograph(1, 96)) < 0.2


def test_of_several_it_is_taken_from_the_one_that_fits():
    truth, other = photograph(0), photograph(1)
    soft = restored(truth)
    alone, both, others = found(soft, truth), found(soft, other, truth), found(soft, other)
    assert (both - alone).square().mean() < 0.1 * (others - alone).square().mean()


def test_what_is_absent_gives_nothing():
    truth, other = photograph(0), photograph(1)
    soft = restored(truth)
    torch.testing.assert_close(found(soft, truth, other, counts=torch.tensor([[0.0, 1.0]])), found(soft, other))
    nobody = found(soft, truth, other, counts=torch.zeros(1, 2))
    assert nobody.shape == (1, 4, 64, 64)
    assert not nobody.any(), "neither texture nor any likeness"


def test_texture_is_no_stronger_than_the_contrast_of_the_picture_allows():
    truth = photograph(0)
    soft = restored(truth)
    strong, weak, stronger = (found(by * soft, truth)[:, :3].std().item() for by in (1.0, 0.25, 4.0))
    assert weak == pytest.approx(0.25 * strong, rel=0.2)
    assert stronger < 1.2 * strong, "nor than the reference's own"


def test_the_last_channel_tells_how_like_the_patches_are():
    truth = photograph(0)
    same, another = (found(restored(truth), reference)[:, 3] for reference in (truth, photograph(1)))
    assert min(same.min(), another.min()) >= 0
    assert max(same.max(), another.max()) <= 1
    assert inner(same).mean() > 0.99
    assert inner(another).mean() < inner(same).mean() - 0.02


def test_each_face_of_a_batch_has_its_own_references():
    one, other = photograph(0), photograph(1)
    memory = remember_texture(torch.stack([one, other]))
    together = find_texture(torch.cat([restored(one), restored(other)]), *memory, torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(together[:1], found(restored(one), one))
    assert not together[1:].any(), "whose reference is absent"
    together = find_texture(torch.cat([restored(one), restored(other)]), *memory, torch.ones(2, 1))
    torch.testing.assert_close(together, torch.cat([found(restored(x), x) for x in (one, other)]))
