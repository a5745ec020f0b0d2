"""LD-BFR: the vector-quantised restoration that repairs features (stage 1) and the denoisers that use them (stage 2).

LD-BFR (Du et al., ACM MM 2024, doi 10.1145/3664647.3680853) restores without references: vector quantisation with dual
cross-attention gives the structure, latent diffusion with injected HQ features the detail. So far its abstract; what is
exact here is read from its released code, whose sizes stand in [brackets]. Ours are other sizes and other autoencoders
for smaller models, and features injected into ReF-LDM.
"""

from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.unets.unet_2d import UNet2DOutput
from diffusers.utils.outputs import BaseOutput
from torch import Tensor, nn

from faceref.models.autoencoder import AUTOENCODERS, Autoencoder, PixelUnshuffleVQModel
from faceref.models.configuration import extends_configuration
from faceref.models.forward import hidden, output, prepare
from faceref.models.injection import add_injections
from faceref.models.reference import ReferenceCache, Shown
from faceref.models.unet import ReferenceUNet


class DualCrossAttention(nn.Module):
    """Repairs quantised features q with the help of the features h that they were quantised from (released code).

    Channel attention: A = softmax(h h^T) over the last axis [B, C, C], neither scaled nor projected; q1 = q + A q.
    Spatial cross-attention: queries from h, keys and values from q1, `heads` heads [8], scale 1 / sqrt(C / heads); all
    projections are 1x1 convolutions with bias; no normalisation. q' = q + projection(result): not q1 + .
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, q: Tensor, h: Tensor) -> Tensor:
        """q, h: [B, C, height, width] [256x16x16] -> q' of the same shape."""
        with torch.autocast(h.device.type, enabled=False):  # unscaled products are too large for half precision
            flat = h.flatten(2).float()  # [B, C, height * width]
            weights = (flat @ flat.transpose(1, 2)).softmax(dim=2).to(q.dtype)  # [B, C, C]
        refined = q + (weights @ q.flatten(2)).unflatten(2, q.shape[2:])

        def split_heads(x: Tensor) -> Tensor:
            return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)  # [B, heads, tokens, C / heads]

        attended = F.scaled_dot_product_attention(
            split_heads(self.q(h)), split_heads(self.k(refined)), split_heads(self.v(refined))
        )
        attended = attended.transpose(2, 3).flatten(1, 2).unflatten(2, q.shape[2:])  # [B, C, height, width]
        return q + self.proj_out(attended)


@dataclass(frozen=True)
class RestoringVQOutput(BaseOutput):
    """sample: restored pictures [B, 3, H, W], about [-1, 1]; features: q' [B, C, h, w]; codebook_loss: a scalar."""

    sample: Tensor
    features: Tensor
    codebook_loss: Tensor


class RestoringVQModel(ModelMixin, ConfigMixin):
    """Stage 1: an autoencoder with a codebook that restores. LQ -> h -> quantised q -> repaired q' -> picture.

    [512x512 -> h, q, q' 256x16x16 -> 512x512; base 64, multipliers 1 2 2 4 4 8, codebook 1024.] Quantised features are
    decoded whatever the autoencoder does with continuous ones by itself.
    """

    @register_to_config
    def __init__(self, autoencoder_config: dict[str, Any], heads: int = 8) -> None:
        """autoencoder_config: with the autoencoder's class as "_class_name"; `from_autoencoder` is simpler."""
        super().__init__()
        arguments = {name: value for name, value in autoencoder_config.items() if not name.startswith("_")}
        kind = {kind.__name__: kind for kind in AUTOENCODERS}[autoencoder_config["_class_name"]]
        self.autoencoder: Autoencoder = kind(**arguments)
        self.attention = DualCrossAttention(self.autoencoder.quantize.embedding.embedding_dim, heads)  # type: ignore

    @classmethod
    def from_autoencoder(cls, autoencoder: Autoencoder, heads: int = 8) -> Self:
        """Begin from an autoencoder of HQ faces: a copy of its weights, and a freshly initialised attention block."""
        settings = {name: value for name, value in autoencoder.config.items() if not name.startswith("_")}
        model = cls({"_class_name": type(autoencoder).__name__, **settings}, heads)
        model.autoencoder.load_state_dict(autoencoder.state_dict())
        return model

    @property
    def downsampling(self) -> int:
        """Pixels of the picture for each of the features, in one direction [32]."""
        if isinstance(self.autoencoder, PixelUnshuffleVQModel):
            return self.autoencoder.config["patch_size"]
        return 2 ** (len(self.autoencoder.config["block_out_channels"]) - 1)

    def repair(self, lq: Tensor) -> tuple[Tensor, Tensor]:
        """LQ pictures [B, 3, H, W] in [-1, 1] -> repaired features q' [B, C, h, w] and the codebook loss."""
        h = self.autoencoder.encode(lq).latents  # [B, C, h, w]
        q, codebook_loss, _ = self.autoencoder.quantize(h)  # gradients pass straight through to h
        return self.attention(q, h), codebook_loss

    def features(self, lq: Tensor, size: int) -> Tensor:
        """q' [B, C, size, size] of LQ pictures [B, 3, H, H] in [-1, 1], resized to what gives so many features.

        [256x256 pixels are enlarged to 512x512 for features of 16x16.]
        """
        return self.repair(resized(lq, size * self.downsampling))[0]

    def decode(self, features: Tensor) -> Tensor:
        """q' [B, C, h, w] -> pictures [B, 3, H, W], about [-1, 1]."""
        return cast(DecoderOutput, self.autoencoder.decode(features, force_not_quantize=True)).sample

    def forward(self, lq: Tensor) -> RestoringVQOutput:
        """LQ pictures [B, 3, H, W] in [-1, 1], restored."""
        features, codebook_loss = self.repair(lq)
        return RestoringVQOutput(self.decode(features), features, codebook_loss)


def resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures [B, C, H, H] as [B, C, side, side]."""
    if pictures.shape[-1] == side:
        return pictures
    # in float32: CPUs do not resize in half precision
    return F.interpolate(pictures.float(), size=(side, side), mode="bilinear", antialias=True).to(pictures.dtype)


class InjectedUNet(UNet2DModel):
    """Stage 2: a `UNet2DModel` on noisy latents [3x64x64] that is told what to restore by injected features q'.

    [Base 224, multipliers 1 2 3 4, self-attention at downsampling 2, 4, 8, 32 channels a head; q' 256x16x16.] The LQ
    latent is not concatenated. Nothing is kept between calls: threads may share one network.
    """

    @extends_configuration(UNet2DModel)
    def __init__(self, *args: Any, feature_channels: int = 256, feature_size: int = 16, **kwargs: Any) -> None:
        """feature_channels, feature_size: of q' [B, feature_channels, feature_size, feature_size]; see UNet2DModel."""
        super().__init__(*args, **kwargs)
        prepare(self, distance_bias=False)
        add_injections(self, feature_channels, feature_size)

    def forward(self, sample: Tensor, timestep: Tensor | float, features: Tensor | None) -> UNet2DOutput:
        """Predict the noise (or what the scheduler's prediction_type says) in `sample`.

        sample: [B, C, h, w]; timestep: a number or [B]; features: q', None to inject nothing.
        """
        shown = Shown(features=features)
        return UNet2DOutput(output(self, hidden(self, sample, timestep, shown, self.up_blocks)))  # type: ignore[arg-type]


class InjectedReferenceUNet(ReferenceUNet):
    """ReF-LDM's denoiser with LD-BFR's injections (ours, beyond both papers): it starts from repaired features.

    References are encoded without features: they are good photographs already.
    """

    @extends_configuration(ReferenceUNet)
    def __init__(self, *args: Any, feature_channels: int = 256, feature_size: int = 16, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_injections(self, feature_channels, feature_size)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        references: ReferenceCache | None = None,
        features: Tensor | None = None,
    ) -> UNet2DOutput:
        """As `ReferenceUNet.forward`; features: q' of each picture, None to inject nothing."""
        return self.denoise(sample, timestep, Shown(self.remember(references, sample), features))
