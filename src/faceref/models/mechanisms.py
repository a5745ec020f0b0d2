"""The alternatives to CacheKV that Table 2 of ReF-LDM compares it with: for ablations, not for use.

Each is a `ReferenceUNet` that is shown references in another way, so that it trains, restores and is measured like one.
The paper names them in a word each; how they are built here is ours. None can work anything out about the references
before denoising begins: what they keep in the cache are the latents, and each step looks at these anew.

At the end of the file: how such a network begins as an LQ-only one.
"""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from faceref.errors import UsageError
from faceref.models.ldbfr import InjectedReferenceUNet
from faceref.models.reference import Reading, ReferenceAttnProcessor, ReferenceCache, Shown
from faceref.models.unet import ReferenceUNet

Network = TypeVar("Network", bound=ReferenceUNet)
_LAYERS = ("latents",)


class _LatentCacheUNet(ReferenceUNet):
    """Keeps the latents of the references, as tokens, where CacheKV keeps keys and values."""

    def encode_references(
        self, latents: Tensor, multiplicity: Tensor | None = None, identities: Tensor | None = None
    ) -> ReferenceCache:
        """Reference latents [B, N, C, h, w] -> a cache that holds them; see `ReferenceUNet.encode_references`."""
        tokens = latents.flatten(3).transpose(2, 3).flatten(1, 2)  # [B, N * h * w, C]
        return ReferenceCache(_LAYERS, (tokens,), (tokens[..., :0],), latents.shape[1], multiplicity)

    def forward_each(
        self, sample: Tensor, timestep: Tensor | float, references: Sequence[ReferenceCache], *features: Tensor
    ) -> tuple[Tensor, ...]:
        """As `ReferenceUNet.forward_each`, in as many passes: these look at references otherwise."""
        return tuple(self(sample, timestep, one, *features).sample for one in references)

    def _latents(self, references: ReferenceCache, sample: Tensor) -> Tensor:
        """What `encode_references` was given, [B, N, C, h, w]; h and w are those of `sample`."""
        if references.layers != _LAYERS or references.batch_size != len(sample):
            raise ValueError(
                f"references for {references.batch_size} images were given with {len(sample)} images, or they were "
                f"encoded by a network of another mechanism than {type(self).__name__}"
            )
        height, width = sample.shape[2:]
        tokens = references.keys[0].unflatten(1, (len(references), height * width))  # [B, N, h * w, C]
        return tokens.transpose(2, 3).unflatten(3, (height, width))


class ChannelConcatUNet(_LatentCacheUNet):
    """Channel concatenation: the input is [noisy latent, LQ latent, reference 1, ..., reference N].

    N is fixed by `in_channels`, (2 + N) times the latent's. Fewer references are repeated in turn, as the data set does
    (`FaceDataset.choose_references`); no reference is zeros. Those beyond N are not looked at.
    """

    def forward(
        self, sample: Tensor, timestep: Tensor | float, references: ReferenceCache | None = None
    ) -> UNet2DOutput:
        """As `ReferenceUNet.forward`."""
        channels = self.config["in_channels"] - sample.shape[1]
        shown = sample.new_zeros(len(sample), channels, *sample.shape[2:])
        if references is not None and len(references):
            latents = self._latents(references, sample)  # [B, n, C, h, w]
            present = references.counts > 0
            first = (~present).int().argsort(dim=1, stable=True)  # [B, n]: rows, those that are there before the others
            slots = torch.arange(channels // latents.shape[2], device=sample.device)  # [N]
            rows = first.gather(1, slots % present.sum(dim=1, keepdim=True).clamp(min=1))  # [B, N]
            image = torch.arange(len(sample), device=sample.device)[:, None]
            anybody = present.any(dim=1)[:, None, None, None]
            shown = latents[image, rows].flatten(1, 2) * anybody  # [B, N * C, h, w]
        return super().forward(torch.cat([sample, shown], dim=1), timestep)


class CrossAttentionUNet(_LatentCacheUNet):
    """Cross-attention: a further attention layer beside each self-attention, from the image to the references.

    Its keys and values are projected from the references' latents, one token for each place, as latent diffusion does
    with other conditions; its output, which starts at zero, is added to that of the self-attention.
    """

    @functools.wraps(ReferenceUNet.__init__)  # whose signature names the configuration
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.attention_layers:
            layer = self.get_submodule(name)
            assert isinstance(layer, Attention)
            channels = layer.to_q.in_features
            cross = Attention(
                channels,
                self.config["out_channels"],
                heads=layer.heads,
                dim_head=channels // layer.heads,
                norm_num_groups=self.config["norm_num_groups"],
                bias=True,
            )
            for weight in cross.to_out[0].parameters():  # type: ignore[index]
                nn.init.zeros_(weight)
            layer.add_module("references", cross)
            layer.set_processor(_CrossAttnProcessor(name, self.config["distance_bias"]))  # type: ignore[arg-type]

    def forward(
        self, sample: Tensor, timestep: Tensor | float, references: ReferenceCache | None = None
    ) -> UNet2DOutput:
        """As `ReferenceUNet.forward`."""
        if references is None or not len(references):
            return super().forward(sample, timestep)
        tokens = self._latents(references, sample).flatten(3).transpose(2, 3).flatten(1, 2)  # [B, N * h * w, C]
        return self.denoise(sample, timestep, Shown(_Beside(tokens, references)))


class _Beside(Reading):
    """References for cross-attention; self-attention stays as it is."""

    def __init__(self, tokens: Tensor, cache: ReferenceCache) -> None:
        super().__init__(cache)
        self.tokens = tokens  # [B, N * h * w, C]
        self.anybody = cache.counts.sum(dim=1) > 0  # [B]

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return key, value, None

    def mask(self) -> Tensor | None:
        """Bias for the logits [B, 1, N * h * w]; where nobody is shown, all count, but see `anybody`."""
        if self.log_counts is None:
            return None
        bias = self.log_counts.masked_fill(~self.anybody[:, None], 0.0).to(self.tokens.dtype)
        return bias.repeat_interleave(self.tokens.shape[1] // self.references, dim=1)[:, None]


class _CrossAttnProcessor(ReferenceAttnProcessor):
    """Self-attention, and beside it the layer's cross-attention to what `_Beside` holds."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        shown: Shown,
    ) -> Tensor:
        output = super().__call__(attn, hidden_states, shown=shown)
        references = shown.memory
        if not isinstance(references, _Beside):
            return output
        cross = attn.get_submodule("references")(hidden_states, references.tokens, attention_mask=references.mask())
        return output + cross * references.anybody[:, None, None, None]


class SpatialConcatUNet(_LatentCacheUNet):
    """Spatial concatenation: the references lie beside the image, and every layer computes all of them.

    In each self-attention the tokens of image and references attend to those of all. Concatenated are the tokens, not
    the pictures' edges: convolutions and norms work within a picture, so that the order does not matter.
    """

    def forward(
        self, sample: Tensor, timestep: Tensor | float, references: ReferenceCache | None = None
    ) -> UNet2DOutput:
        """As `ReferenceUNet.forward`."""
        if references is None:
            return super().forward(sample, timestep)
        latents = self._latents(references, sample)
        latents = torch.cat([latents, torch.zeros_like(latents)], dim=2)  # [B, N, 2C, h, w]: nothing in the LQ half
        pictures = torch.cat([sample[:, None], latents], dim=1)  # [B, 1 + N, 2C, h, w]
        timesteps = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        timesteps = timesteps.repeat_interleave(pictures.shape[1])  # [B * (1 + N)]
        output = self.denoise(pictures.flatten(0, 1), timesteps, Shown(_Together(references))).sample
        return UNet2DOutput(output.unflatten(0, pictures.shape[:2])[:, 0])


class _Together(Reading):
    """An image and its N references in one pass, [B * (1 + N)] pictures: each attends to all of its group."""

    def __init__(self, cache: ReferenceCache) -> None:
        super().__init__(cache)
        self.pictures = 1 + len(cache)

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Each picture's key and value [B * (1 + N), T, C] -> those of its group [B * (1 + N), (1 + N) * T, C]."""

        def of_group(x: Tensor) -> Tensor:
            groups = x.unflatten(0, (-1, self.pictures)).flatten(1, 2)  # [B, (1 + N) * T, C]
            return groups.repeat_interleave(self.pictures, dim=0)

        bias = None
        if self.log_counts is not None:
            bias = F.pad(self.log_counts, (1, 0)).to(key.dtype)  # [B, 1 + N]; the image counts once
            bias = bias.repeat_interleave(key.shape[1], dim=1).repeat_interleave(self.pictures, dim=0)[:, None, None]
        return of_group(key), of_group(value), bias


MECHANISMS: dict[str, type[ReferenceUNet]] = {
    "cache_kv": ReferenceUNet,
    "channel_concat": ChannelConcatUNet,
    "cross_attention": CrossAttentionUNet,
    "spatial_concat": SpatialConcatUNet,
}
REFERENCE_UNETS: tuple[type[ReferenceUNet], ...] = (*MECHANISMS.values(), InjectedReferenceUNet)  # of a model of refldm


def with_mechanism(unet: ReferenceUNet, mechanism: str, references: int) -> ReferenceUNet:
    """The network of `MECHANISMS` that begins as `unet`: its weights; new ones have no effect yet.

    references: N of channel concatenation; the others take any number. Raises UsageError if `unet` has been given
    another mechanism before.
    """
    kind = MECHANISMS[mechanism]
    if type(unet) is kind or (kind is ReferenceUNet and isinstance(unet, InjectedReferenceUNet)):
        return unet
    if type(unet) is not ReferenceUNet:
        raise UsageError(
            f"A {type(unet).__name__} cannot become a network with {mechanism}", hint="start from an LQ-only one"
        )
    if kind is ChannelConcatUNet:
        in_channels = unet.config["in_channels"] + references * unet.config["out_channels"]
        return _begin_as(unet, kind, {"in_channels": in_channels})
    return _begin_as(unet, kind, {})


def with_injections(unet: ReferenceUNet, feature_channels: int, feature_size: int) -> InjectedReferenceUNet:
    """The network that begins as `unet`, with injections of q' [B, feature_channels, feature_size, feature_size]."""
    if isinstance(unet, InjectedReferenceUNet):
        return unet
    features = {"feature_channels": feature_channels, "feature_size": feature_size}
    return _begin_as(unet, InjectedReferenceUNet, features)


def _begin_as(unet: ReferenceUNet, kind: type[Network], changes: dict[str, Any]) -> Network:
    """A network of another class with the settings, but for `changes`, and the weights of `unet`; further ones are new.

    Further input channels begin at zero.
    """
    settings = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    changed = kind(**(settings | changes))
    weights = unet.state_dict()
    further = changed.conv_in.in_channels - unet.conv_in.in_channels
    weights["conv_in.weight"] = F.pad(weights["conv_in.weight"], (0, 0, 0, 0, 0, further))
    changed.load_state_dict(changed.state_dict() | weights)
    return changed
