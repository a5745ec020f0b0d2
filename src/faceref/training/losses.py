"""Losses of the stages, as functions of tensors; what was outside of the photograph counts in none."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceref.models.identity import FaceRecogniser, feature_distance
from faceref.models.warp import warp


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` [B, C, H, W] where `mask` [B, 1, H, W] (0..1) counts; 0 if nothing does."""
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp(min=1.0)


def hinge_discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Hinge loss of a discriminator (VQGAN, Esser et al. 2021), summed over what it judges: logits of each."""
    pairs = zip(real, fake, strict=True)
    losses = [0.5 * (F.relu(1 - of_real).mean() + F.relu(1 + of_fake).mean()) for of_real, of_fake in pairs]
    return torch.stack(losses).sum()


def adversarial_loss(fake: Sequence[Tensor]) -> Tensor:
    """What the generator is to make small: the discriminator's logits, negated, summed over what it judges."""
    return -torch.stack([logits.mean() for logits in fake]).sum()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """|grad of the reconstruction loss| / |grad of the adversarial loss| at the decoder's last layer (VQGAN, Eq. 7)."""
    (of_reconstruction,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (of_reconstruction.norm() / (of_adversarial.norm() + 1e-4)).clamp(0, 1e4).detach()


def perceptual_distance(network: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """`feature_distance` [B] of pictures [B, 3, H, W] in [-1, 1]; gradients flow to `images`.

    network: a recogniser, or one that gives feature maps, from the finest.
    """
    features = network.identity_features if isinstance(network, FaceRecogniser) else network
    with torch.no_grad():
        wanted = features(target)
    return feature_distance(features(images), wanted)


def identity_scale(alpha_bar: Tensor, timestep: Tensor, scaling: str) -> Tensor:
    """Weight of the identity loss at each timestep, [B] (ReF-LDM, Sec. 3.3 and Table 4).

    `alpha_bar`: cumulative product of the noise schedule at `timestep`, both [B].
    """
    match scaling:
        case "none":
            return torch.zeros_like(alpha_bar)
        case "naive":
            return torch.ones_like(alpha_bar)
        case "sqrt_alpha_bar":
            return alpha_bar.sqrt()
        case "t_below_100":
            return (timestep < 100).to(alpha_bar.dtype)
        case "t_below_500":
            return (timestep < 500).to(alpha_bar.dtype)
    raise ValueError(f"unknown identity loss scaling {scaling!r}")


def identity_similarity(
    recogniser: FaceRecogniser, restored: Tensor, truth: Tensor, mask: Tensor, jitter: torch.Generator | None
) -> Tensor:
    """Cosine [B] between the identities on two pictures [B, 3, H, W] in [-1, 1]; gradients flow to `restored`.

    mask [B, 1, H, W]: where it is 0 (padding), the recogniser sees the truth in both. jitter: draws how both are moved
    alike before (`move_alike`); None: they stay.
    """
    restored = torch.where(mask > 0, restored, truth)
    if jitter is not None:
        restored, truth = move_alike(restored, truth, jitter)
    with torch.no_grad():
        wanted = recogniser.embed(truth)
    return F.cosine_similarity(recogniser.embed(restored), wanted)


def move_alike(images: Tensor, others: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn, scale, shift and perhaps mirror both pictures of each pair [B, C, H, W] by the same random amount.

    Up to 0.1 rad, 8 % and 4 % of the side. What comes into view from outside is reflected. Gradients flow.
    """
    draws = torch.rand(5, len(images), generator=generator, device=generator.device).to(images.device)
    signed = 2 * draws - 1
    angle, scale, shift = 0.1 * signed[0], 1 + 0.08 * signed[1], 0.08 * signed[2:4]  # the side is 2 in a grid's units
    mirror = torch.where(draws[4] < 0.5, -1.0, 1.0)
    across, along = scale * angle.cos(), scale * angle.sin()
    rows = [mirror * across, -along, shift[0]], [mirror * along, across, shift[1]]
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # [B, 2, 3]
    size = images.shape[-2], images.shape[-1]
    return warp(images, theta, size, "reflection"), warp(others, theta, size, "reflection")
