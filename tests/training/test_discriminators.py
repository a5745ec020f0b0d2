"""The discriminators: what they judge, and that they learn to see what matters."""

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceref.training.discriminators import PartDiscriminator, PatchDiscriminator, UNetDiscriminator
from faceref.training.losses import adversarial_loss, hinge_discriminator_loss


def pictures(batch: int = 4, side: int = 64) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_patch_has_a_logit():
    (logits,) = PatchDiscriminator(channels=32)(pictures())
    assert logits.shape == (4, 1, 6, 6)


def test_a_pixel_has_a_logit_and_the_maps_before_it_are_of_every_level():
    *maps, logits = UNetDiscriminator(channels=16)(pictures(batch=1, side=32))
    assert logits.shape == (1, 1, 32, 32)
    down, up = [(16, 32), (32, 16), (64, 8), (128, 4)], [(64, 8), (32, 16), (16, 32)]
    assert [(one.shape[1], one.shape[2]) for one in maps] == down + up


def test_what_is_around_a_pixel_counts_and_what_is_far_does_not():
    torch.manual_seed(0)
    discriminator, picture = UNetDiscriminator(channels=16).eval(), pictures(batch=1, side=128)
    changed = picture.clone()
    changed[..., 64, 64] *= -1
    moved = (discriminator(picture)[-1] - discriminator(changed)[-1])[0, 0].abs()
    assert moved[64, 64] > 0
    assert moved[60:69, 60:69].count_nonzero() == 81
    assert not moved[0].any()
    assert not moved[:, 0].any()


def test_the_weights_within_it_are_of_unit_norm():
    torch.manual_seed(0)
    discriminator = UNetDiscriminator(channels=16)
    for _ in range(20):  # each pass estimates the norm anew
        discriminator(pictures(batch=1, side=16))
    within = [*discriminator.downs, *discriminator.ups, *discriminator.last]
    weights = [cast(Tensor, conv.weight) for conv in within]
    norms = [torch.linalg.matrix_norm(weight.flatten(1), 2).item() for weight in weights]
    assert norms == pytest.approx([1.0] * 8, abs=0.05)


def test_a_part_is_judged_as_a_whole():
    torch.manual_seed(0)
    discriminator = PartDiscriminator(height=32, width=80, channels=8).eval()
    part = torch.rand(1, 3, 32, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    *maps, logits = discriminator(part)
    assert logits.shape == (1, 1, 1, 1)
    assert [(one.shape[1], *one.shape[2:]) for one in maps] == [(8, 16, 40), (16, 8, 20), (32, 4, 10), (64, 2, 5)]
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        changed = part.clone()
        changed[..., *corner] *= -1
        assert discriminator(changed)[-1] != logits


@pytest.mark.parametrize(
    ("kind", "sizes"), [(PatchDiscriminator, (32,)), (UNetDiscriminator, (8,)), (PartDiscriminator, (64, 64, 8))]
)
def test_it_learns_to_tell_sharp_from_blurred(kind: type[nn.Module], sizes: tuple[int, ...]):
    torch.manual_seed(0)
    discriminator = kind(*sizes)
    sharp = pictures()
    blurred = F.avg_pool2d(sharp, 5, 1, 2)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)

    def loss() -> Tensor:
        return hinge_discriminator_loss(discriminator(sharp)[-1:], discriminator(blurred)[-1:])

    before = loss().item()
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.8 * before
    assert adversarial_loss(discriminator(sharp)[-1:]) < adversarial_loss(discriminator(blurred)[-1:])
