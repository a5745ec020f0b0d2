"""Graphs in the place of the networks that they were exported from: called alike, and as stateless."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.autoencoders.vq_model import VQEncoderOutput
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from faceref.backends.sessions import Session
from faceref.models.ldbfr import resized
from faceref.models.reference import ReferenceCache

Sessions = Mapping[str, Session]


@dataclass(frozen=True, eq=False)
class ExportedNetwork:
    """What a pipeline asks of any network: its settings, and where and in what numbers it computes."""

    config: Mapping[str, Any]
    sessions: Sessions
    device = torch.device("cpu")
    dtype = torch.float32


class ExportedAutoencoder(ExportedNetwork):
    """In the place of a `faceref.models.autoencoder.Autoencoder`."""

    def encode(self, x: Tensor) -> VQEncoderOutput:
        (latents,) = self.sessions["encode"](x)
        return VQEncoderOutput(latents)

    def decode(self, h: Tensor) -> DecoderOutput:
        (pictures,) = self.sessions["decode"](h)
        return DecoderOutput(pictures)


class ExportedInjectedUNet(ExportedNetwork):
    """In the place of a `faceref.models.ldbfr.InjectedUNet`."""

    def __call__(self, sample: Tensor, timestep: Tensor | float, features: Tensor) -> UNet2DOutput:
        return UNet2DOutput(*self.sessions["denoise"](sample, _as_input(timestep), features))


class ExportedReferenceUNet(ExportedNetwork):
    """In the place of a `ReferenceUNet` or an `InjectedReferenceUNet`."""

    def encode_references(
        self, latents: Tensor, multiplicity: Tensor | None = None, identities: Tensor | None = None
    ) -> ReferenceCache:
        """As `ReferenceUNet.encode_references`: latents [B, N, C, h, w], identities [B, N, D]."""
        batch, references = latents.shape[:2]
        memory = [
            one.reshape(batch, -1, one.shape[-1]) for one in self.sessions["references"](latents.flatten(0, 1))
        ]  # [B * N, tokens, C] -> [B, N * tokens, C]
        keys, values = memory[: len(memory) // 2], memory[len(memory) // 2 :]
        if identities is None:
            identities = next(iter(self._nobodies(batch, references)), None)
        return ReferenceCache(self._layers, tuple(keys), tuple(values), references, multiplicity, identities=identities)

    def __call__(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        references: ReferenceCache | None = None,
        *features: Tensor,
    ) -> UNet2DOutput:
        """As `ReferenceUNet.forward`, with features where the network takes them."""
        memory = self._nobody(len(sample)) if references is None else self._memory(references)
        return UNet2DOutput(*self.sessions["denoise"](sample, _as_input(timestep), *memory, *features))

    def forward_each(
        self, sample: Tensor, timestep: Tensor | float, references: Sequence[ReferenceCache], *features: Tensor
    ) -> tuple[Tensor, ...]:
        """As `ReferenceUNet.forward_each`, in as many passes: the graph is of one."""
        return tuple(self(sample, timestep, one, *features).sample for one in references)

    @property
    def _layers(self) -> tuple[str, ...]:
        """Names of its self-attention layers, in the order of a cache."""
        outputs = self.sessions["references"].shapes.outputs
        return outputs[: len(outputs) // 2]

    def _memory(self, cache: ReferenceCache) -> list[Tensor]:
        """How often each reference counts, [B, N]; keys, then values of each layer, [B, N, tokens, C]; identities."""
        shapes, memory = self._shapes(*cache.counts.shape), (*cache.keys, *cache.values)
        told = [] if cache.identities is None else [cache.identities]
        return [cache.counts, *(one.reshape(shape) for one, shape in zip(memory, shapes, strict=True)), *told]

    def _nobody(self, batch: int) -> list[Tensor]:
        return [torch.zeros(batch, 0), *map(torch.zeros, self._shapes(batch, 0)), *self._nobodies(batch, 0)]

    def _nobodies(self, batch: int, references: int) -> list[Tensor]:
        """Identities of so many references that show nobody, if the network is told any."""
        size = self.config.get("identity_size")
        return [] if size is None else [torch.zeros(batch, references, size)]

    def _shapes(self, batch: int, references: int) -> list[tuple[int, ...]]:
        inputs = self.sessions["denoise"].shapes.inputs
        return [(batch, references, *map(int, inputs[name][2:])) for name in self.sessions["references"].shapes.outputs]


class ExportedVQModel(ExportedNetwork):
    """In the place of a `RestoringVQModel`."""

    def features(self, lq: Tensor, size: int) -> Tensor:
        session = self.sessions["features"]
        (features,) = session(resized(lq, int(session.shapes.inputs["pictures"][-1])))
        return features

    def decode(self, features: Tensor) -> Tensor:
        (pictures,) = self.sessions["draw_features"](features)
        return pictures


class ExportedFusion(ExportedNetwork):
    """In the place of a `PixelFusion`."""

    def __call__(self, restored: Tensor, lq: Tensor) -> Tensor:
        (pictures,) = self.sessions["fuse"](restored, lq)
        return pictures


class ExportedDetailDecoder(ExportedNetwork):
    """In the place of a `DetailDecoder`."""

    def __call__(self, latents: Tensor, decoded: Tensor, lq: Tensor, *hints: Tensor) -> Tensor:
        """hints: texture and crispness, where the network takes them."""
        (pictures,) = self.sessions["draw"](latents, decoded, lq, *hints)
        return pictures


class ExportedIdentityEncoder(ExportedNetwork):
    """In the place of an `IdentityEncoder`."""

    def __call__(self, pictures: Tensor) -> Tensor:
        (identities,) = self.sessions["identify"](pictures)
        return identities


def _as_input(timestep: Tensor | float) -> Tensor:
    return torch.as_tensor(timestep, dtype=torch.float32).reshape(1)
