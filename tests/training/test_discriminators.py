"""Discriminators: what they judge, that they see what matters, and that the projected one cannot become too sure."""

import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.models.identity import MobileFaceNet
from faceref.training.discriminators import PatchDiscriminator, ProjectedDiscriminator
from faceref.training.losses import adversarial_loss, hinge_discriminator_loss


def pictures(batch: int = 4, side: int = 64) -> Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def projected() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    recogniser = MobileFaceNet().eval().requires_grad_(False)
    return ProjectedDiscriminator(recogniser.identity_features, [64, 64], channels=16)


def test_a_patch_has_a_logit():
    (logits,) = PatchDiscriminator(channels=32)(pictures())
    assert logits.shape == (4, 1, 6, 6)


def test_the_pictures_and_each_map_are_judged():
    assert [logits.shape for logits in projected()(pictures())] == [(4, 1, 8, 8), (4, 1, 32, 32), (4, 1, 16, 16)]


def test_the_network_that_makes_the_maps_is_not_trained_with_it():
    assert not any("recogniser" in name or "features" in name for name, _ in projected().named_parameters())


def test_it_learns_to_tell_sharp_from_blurred():
    discriminator, sharp = projected(), pictures()
    blurred = F.avg_pool2d(sharp, 5, 1, 2)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    before = hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).item()
    for _ in range(30):
        optimizer.zero_grad()
        hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).backward()
        optimizer.step()
    assert hinge_discriminator_loss(discriminator(sharp), discriminator(blurred)).item() < 0.8 * before
    assert adversarial_loss(discriminator(sharp)) < adversarial_loss(discriminator(blurred))


def test_its_logits_move_no_more_than_the_picture_does():
    discriminator = projected()
    with torch.no_grad():
        for name, weight in discriminator.of_pictures.named_parameters():
            if name.endswith("original"):
                weight.mul_(50)  # however large its weights grow
        for _ in range(30):
            discriminator(pictures())  # power iterations
        discriminator.eval()
        moved = pictures() + 0.01
        change = (discriminator(moved)[0] - discriminator(pictures())[0]).abs().mean()
    assert change < 0.5
