"""The discriminator: what it judges, and that it learns to see what matters."""

import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.training.discriminators import PatchDiscriminator
from faceref.training.losses import adversarial_loss, hinge_discriminator_loss


def pictures(batch: int = 4, side: int = 64) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_patch_has_a_logit():
    (logits,) = PatchDiscriminator(channels=32)(pictures())
    assert logits.shape == (4, 1, 6, 6)


def test_it_learns_to_tell_sharp_from_blurred():
    torch.manual_seed(0)
    discriminator, sharp = PatchDiscriminator(channels=32), pictures()
    blurred = F.avg_pool2d(sharp, 5, 1, 2)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    before = hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).item()
    for _ in range(30):
        optimizer.zero_grad()
        hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).backward()
        optimizer.step()
    assert hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).item() < 0.8 * before
    assert adversarial_loss(discriminator(sharp)) < adversarial_loss(discriminator(blurred))
