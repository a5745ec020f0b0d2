"""The losses: what they ignore, and the weights that the paper gives the identity loss."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from faceref.errors import UsageError
from faceref.models.identity import MobileFaceNet
from faceref.training.backbones import TimmFeatures
from faceref.training.losses import (
    adaptive_weight,
    adversarial_loss,
    hinge_discriminator_loss,
    identity_scale,
    masked_mean,
    move_alike,
    perceptual_distance,
)


def test_padding_does_not_count():
    values = torch.ones(1, 3, 4, 4)
    values[..., 2:] = 1000.0
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1.0
    assert masked_mean(values, mask).item() == 1.0


def test_a_picture_of_padding_alone_costs_nothing():
    assert masked_mean(torch.ones(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).item() == 0.0


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("none", [0.0, 0.0, 0.0]),
        ("naive", [1.0, 1.0, 1.0]),
        ("sqrt_alpha_bar", [0.9, 0.5, 0.1]),
        ("t_below_100", [1.0, 0.0, 0.0]),
        ("t_below_500", [1.0, 1.0, 0.0]),
    ],
)
def test_identity_scaling_follows_the_ablation_of_the_paper(scaling: str, expected: list[float]):
    alpha_bar = torch.tensor([0.81, 0.25, 0.01])
    timesteps = torch.tensor([99, 100, 500])
    assert identity_scale(alpha_bar, timesteps, scaling).tolist() == pytest.approx(expected)


def test_the_discriminator_loss_is_zero_once_both_sides_are_beyond_the_margin():
    assert hinge_discriminator_loss([torch.tensor([1.5])], [torch.tensor([-1.2])]).item() == 0.0
    assert hinge_discriminator_loss([torch.tensor([0.0])], [torch.tensor([0.0])]).item() == 1.0


def test_all_that_a_discriminator_judges_counts_alike_whatever_its_size():
    real, fake = (
        [torch.zeros(1, 1, 8, 8), torch.full((1, 1, 2, 2), 2.0)],
        [torch.zeros(1, 1, 8, 8), -torch.ones(1, 1, 2, 2)],
    )
    assert hinge_discriminator_loss(real, fake).item() == 1.0
    assert adversarial_loss(fake).item() == 1.0


def test_the_adaptive_weight_is_the_ratio_of_the_gradients():
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = adaptive_weight((6 * layer).sum(), (3 * layer).sum(), layer)
    assert weight.item() == pytest.approx(2.0, rel=1e-3)


def test_the_perceptual_distance_grows_with_blur_and_pulls_towards_the_target():
    torch.manual_seed(0)
    target = torch.rand(1, 3, 64, 64) * 2 - 1
    blurred = nn.functional.avg_pool2d(target, 5, 1, 2).requires_grad_()
    network = MobileFaceNet().eval().requires_grad_(False)
    assert perceptual_distance(network, target, target).item() == 0.0
    distance = perceptual_distance(network, blurred, target)
    distance.backward()
    assert blurred.grad is not None
    nearer = blurred.detach() - 1e-3 * blurred.grad / blurred.grad.abs().max()
    assert perceptual_distance(network, nearer, target) < distance


def test_a_backbone_sees_pictures_normalised_as_it_was_trained(monkeypatch: pytest.MonkeyPatch):
    class Recorder(nn.Module):
        default_cfg = {"mean": (0.5, 0.25, 0.0), "std": (0.5, 0.25, 1.0)}  # noqa: RUF012

        def forward(self, x: Tensor) -> list[Tensor]:
            return [x]

    timm = SimpleNamespace(create_model=lambda name, pretrained, features_only: Recorder())
    monkeypatch.setitem(sys.modules, "timm", timm)
    (seen,) = TimmFeatures("vgg16")(torch.ones(1, 3, 1, 1))
    assert seen.flatten().tolist() == [1.0, 3.0, 1.0]


def test_a_missing_timm_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        TimmFeatures("vgg16")


def test_both_pictures_of_a_pair_are_moved_alike_and_each_pair_by_its_own_amount():
    face = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(6, -1, -1, -1)
    one, other = move_alike(face, face + 1, torch.Generator().manual_seed(1))
    torch.testing.assert_close(one + 1, other)
    assert all((one[i] - one[j]).abs().max() > 0.1 for i in range(6) for j in range(i))
    again, _ = move_alike(face, face, torch.Generator().manual_seed(1))
    assert torch.equal(one, again)


def test_moving_is_small_and_mirrors_every_second_pair():
    dot = torch.zeros(400, 1, 65, 65)
    dot[:, :, 31:34, 31:34] = 1.0  # in the middle: only the shift moves it
    dot[:, :, 32, 60] = 20.0  # far to the right: mirrored, it is on the left
    moved, _ = move_alike(dot, dot, torch.Generator().manual_seed(2))
    column = moved.amax(dim=(1, 2)).argmax(dim=1).float()
    mirrored = column < 32
    assert 0.4 < mirrored.float().mean() < 0.6
    # 28 pixels from the middle, 8 % nearer or farther, 4 % of 65 to either side
    distance = (column - 32).abs()
    assert distance.min() >= 28 * 0.91 * 0.99 - 3.5
    assert distance.max() <= 32
