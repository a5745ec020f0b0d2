"""Discriminators and the places of a face that they see, where each place counts by a share."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# of aligned faces of 256 pixels, first and last row, and column
PARTS = {"eyes": ((92, 156), (48, 208)), "mouth": ((164, 228), (80, 176))}
Place = tuple[slice, slice]  # rows and columns


def place_of(part: str, side: int) -> Place:
    """Where an aligned face of so many pixels to a side has its eyes, both, or its mouth."""
    rows, columns = (slice(*(end * side // 256 for end in ends)) for ends in PARTS[part])
    return rows, columns


@dataclass(frozen=True)
class View:
    """A discriminator, and the place of pictures [B, C, H, W] that it sees: rows and columns.

    suffix: of its numbers' names. weight: how much it counts.
    """

    suffix: str
    discriminator: nn.Module
    place: Place
    weight: float

    def of(self, pictures: Tensor) -> Tensor:
        """What is seen of them."""
        return pictures[..., *self.place]

    def tell_apart(self, real: Tensor, drawn: Tensor, shares: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's hinge loss of pairs [B, 3, H, W], each place counting by its share [B, 1, H, W]."""
        of_real, of_drawn = (self.discriminator(self.of(pictures))[-1] for pictures in (real, drawn))
        shares = self.of(shares)
        loss = mean_by_share(0.5 * (F.relu(1 - of_real) + F.relu(1 + of_drawn)), shares)
        numbers = {
            "real_scored": mean_by_share(of_real, shares),
            "drawn_scored": mean_by_share(of_drawn, shares),
            "discriminator": loss,
        }
        return loss, {f"{name}{self.suffix}": number.detach() for name, number in numbers.items()}

    def judge(self, drawn: Tensor, real: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The losses of feature matching and of what is drawn for a photograph."""
        *maps, logits = self.discriminator(self.of(drawn))
        with torch.no_grad():
            *wanted, _ = self.discriminator(self.of(real))
        shares = self.of(shares)
        apart = [mean_by_share((a - b).abs().mean(1, keepdim=True), shares) for a, b in zip(maps, wanted, strict=True)]
        return torch.stack(apart).mean(), mean_by_share(-logits, shares)


def mean_by_share(values: Tensor, shares: Tensor) -> Tensor:
    """Of values [B, 1, h, w], each counting by the mean of its shares [B, 1, H, W]; 0 if none does."""
    shares = F.adaptive_avg_pool2d(shares, (values.shape[-2], values.shape[-1]))
    return (values * shares).sum() / shares.sum().clamp(min=1e-3)
