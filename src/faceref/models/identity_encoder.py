"""Who the references show, in numbers, and how a denoiser is told (ours; for networks trained on few samples).

Attention carries over what references look like, place by place; that takes many samples to learn. A recogniser has
learnt from millions of faces what makes a person, and says it in 128 numbers.
"""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from faceref.models.dlib_resnet import DlibResNet, chips_of_aligned


class IdentityEncoder(ModelMixin, ConfigMixin):
    """A network of dlib's architecture on a fixed cut of FFHQ-aligned faces, whose landmarks nobody has to find.

    A new one has our recogniser's weights (`training.stages.components`), trained on from dlib's.
    """

    @register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.recogniser = DlibResNet()
        self.register_buffer("centre", torch.zeros(128))  # the mean over many people

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S], RGB in [-1, 1] -> [B, D]: embeddings less their mean over many people."""
        return self.recogniser(chips_of_aligned(pictures).to(self.dtype)) - self.centre


class IdentityProjection(nn.Module):
    """An identity as a denoiser takes it: a shift of its time embedding, and a map for its coarsest level.

    Aligned faces have the same feature at the same place, so that a map can say what of a person belongs where. Both
    are zero in a new network.
    """

    def __init__(
        self, embedding_size: int, time_channels: int, channels: int, side: int, hidden: int = 512, thin: int = 64
    ) -> None:
        """time_channels: of the time embedding; channels, side: of the coarsest level's features."""
        super().__init__()
        self.places = (thin, side, side)
        self.embed = nn.Sequential(nn.Linear(embedding_size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.to_time = nn.Linear(hidden, time_channels)
        self.to_map = nn.Sequential(nn.Linear(hidden, thin * side * side), nn.SiLU())
        self.conv_out = nn.Conv2d(thin, channels, 3, padding=1)
        for parameter in (*self.to_time.parameters(), *self.conv_out.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, identity: Tensor) -> tuple[Tensor, Tensor]:
        """Identities [B, D] of any length, 0 for nobody -> shifts [B, E] and maps [B, C, s, s], 0 for nobody."""
        told = (identity != 0).any(dim=1).to(identity.dtype)
        hidden = self.embed(F.normalize(identity) * identity.shape[1] ** 0.5)
        features = self.conv_out(self.to_map(hidden).unflatten(1, self.places))
        return self.to_time(hidden) * told[:, None], features * told[:, None, None, None]


def mean_identity(identities: Tensor, counts: Tensor | None) -> Tensor:
    """Identities [B, N, D] of references, each counted so often, [B, N] (None: once) -> [B, D]; 0 of none."""
    if counts is None:
        counts = identities.new_ones(identities.shape[:2])
    counts = counts.to(identities.dtype)[:, :, None]
    return (identities * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1e-6)
