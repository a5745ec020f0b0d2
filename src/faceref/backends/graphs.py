"""The networks of a pipeline as graphs: tensors in, tensors out, nothing of Python between."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faceref.errors import UsageError
from faceref.models.autoencoder import decode, encode
from faceref.models.identity_encoder import mean_identity
from faceref.models.ldbfr import InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.models.reference import Memory, Shown, log_counts
from faceref.models.texture import TEXTURE_CHANNELS
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.protocol import FacePipeline

BATCH = "batch"
REFERENCES = "references"


@dataclass(frozen=True, eq=False)
class Port:
    """A tensor that a graph takes: one for example, and the names of its first axes, which may be of any length."""

    example: Tensor
    axes: tuple[str, ...] = (BATCH,)

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Its axes: their names, then their lengths."""
        return (*self.axes, *self.example.shape[len(self.axes) :])


@dataclass(frozen=True, eq=False)
class Graph:
    """One pass through networks: `run(*networks, *tensors)` gives the outputs, one tensor or several."""

    run: Callable[..., Tensor | tuple[Tensor, ...]]
    networks: tuple[nn.Module, ...]
    inputs: Mapping[str, Port]
    outputs: tuple[str, ...]


@torch.no_grad()
def graphs_of(pipeline: FacePipeline, resolution: int) -> dict[str, Graph]:
    """All that a pipeline computes for faces of `resolution` px, any number of them, with any number of references.

    Raises UsageError for a network that exists for ablations only.
    """
    pictures = pipeline.shrink(torch.zeros(1, 3, resolution, resolution))
    latents = encode(pipeline.vae, pictures)
    graphs = {
        "encode": Graph(encode, (pipeline.vae,), {"pictures": _several(pictures)}, ("latents",)),
        "decode": Graph(decode, (pipeline.vae,), {"latents": _several(latents)}, ("pictures",)),
        **_denoising(pipeline, latents),
    }
    if (encoder := getattr(pipeline, "identity_encoder", None)) is not None:
        faces = {"pictures": _several(torch.zeros(1, 3, resolution, resolution))}
        graphs["identify"] = Graph(_called, (encoder,), faces, ("identities",))
    if pipeline.fusion is not None:
        both = {"decoded": _several(pictures), "lq": _several(pictures)}
        graphs["fuse"] = Graph(_called, (pipeline.fusion,), both, ("pictures",))
    if pipeline.detail is not None:
        lq = torch.zeros(1, 3, resolution, resolution)
        seen = {"latents": _several(latents), "decoded": _several(pictures), "lq": _several(lq)}
        if pipeline.is_textured:
            texture = torch.zeros(1, TEXTURE_CHANNELS, resolution, resolution)
            seen |= {"texture": _several(texture), "crisp": _several(torch.ones_like(texture[:, :1]))}
        graphs["draw"] = Graph(_called, (pipeline.detail,), seen, ("pictures",))
    return graphs


def _denoising(pipeline: FacePipeline, latents: Tensor) -> dict[str, Graph]:
    """What the denoiser computes, and what repairs features for it if it takes any; latents [1, C, h, w]."""
    unet, vq = pipeline.unet, getattr(pipeline, "vq", None)
    if type(unet) not in (ReferenceUNet, InjectedReferenceUNet, InjectedUNet):
        raise UsageError(
            f"A {type(unet).__name__} is for ablations and cannot be exported", hint="choose another model"
        )
    graphs, features = {}, {}
    if vq is not None:
        graphs = _repairing(vq, unet.config["feature_size"])
        features = {"features": graphs["draw_features"].inputs["features"]}
    sample = latents.repeat(1, unet.config["in_channels"] // latents.shape[1], 1, 1)
    inputs = {"sample": _several(sample), "timestep": Port(torch.zeros(1), axes=())}
    if not isinstance(unet, ReferenceUNet):
        return graphs | {"denoise": Graph(_denoise_with_features, (unet,), inputs | features, ("prediction",))}
    memory = _encode_references(unet, latents)  # [1, tokens, C] each
    names = [f"{kind}_{layer}" for kind in ("keys", "values") for layer in range(len(memory) // 2)]
    inputs["counts"] = Port(torch.ones(2, 3), (BATCH, REFERENCES))
    for name, one in zip(names, memory, strict=True):
        inputs[name] = Port(one[:, None].repeat(2, 3, 1, 1), (BATCH, REFERENCES))
    if (size := unet.config["identity_size"]) is not None:
        inputs["identities"] = Port(torch.zeros(2, 3, size), (BATCH, REFERENCES))
    return graphs | {
        "references": Graph(_encode_references, (unet,), {"latents": _several(latents)}, tuple(names)),
        "denoise": Graph(_denoise_reading, (unet,), inputs | features, ("prediction",)),
    }


def _repairing(vq: RestoringVQModel, feature_size: int) -> dict[str, Graph]:
    side = feature_size * vq.downsampling
    pictures = torch.zeros(1, 3, side, side)
    features, _ = vq.repair(pictures)
    return {
        "features": Graph(_repair, (vq,), {"pictures": _several(pictures)}, ("features",)),
        "draw_features": Graph(RestoringVQModel.decode, (vq,), {"features": _several(features)}, ("pictures",)),
    }


def _several(one: Tensor) -> Port:
    """Of one [1, ...]: an axis of length 1 would be taken for one that is always so long."""
    return Port(one.repeat(2, *[1] * (one.ndim - 1)))


def _called(network: nn.Module, *tensors: Tensor) -> Tensor:
    return network(*tensors)


def _repair(vq: RestoringVQModel, pictures: Tensor) -> Tensor:
    return vq.repair(pictures)[0]


def _encode_references(unet: ReferenceUNet, latents: Tensor) -> tuple[Tensor, ...]:
    """Latents [N, C, h, w] of references -> keys of each layer, then values, [N, tokens, channels] each."""
    cache = unet.encode_references(latents[:, None])
    return (*cache.keys, *cache.values)


def _denoise_with_features(unet: InjectedUNet, sample: Tensor, timestep: Tensor, features: Tensor) -> Tensor:
    return unet(sample, timestep, features).sample


def _denoise_reading(
    unet: ReferenceUNet, sample: Tensor, timestep: Tensor, counts: Tensor, *memory_and_all_else: Tensor
) -> Tensor:
    """memory: keys of each layer, then values, [B, N, tokens, channels].

    All else is of a network that takes it: identities [B, N, D], features [B, c, s, s].
    """
    layers = unet.attention_layers
    memory, features = memory_and_all_else[: 2 * len(layers)], memory_and_all_else[2 * len(layers) :]
    identities = None
    if unet.config["identity_size"] is not None:
        identities, *features = features
    return unet.denoise(sample, timestep, Shown(_Given(layers, counts, memory, identities), *features)).sample


class _Given(Memory):
    """References as `faceref.models.reference.Reading` shows them, whose number is an axis and not a number.

    That one decides by their number and divides by it, which no graph of any number can: so these are two.
    counts: [B, N] as `ReferenceCache.multiplicity`; memory: keys of each layer, then values, [B, N, tokens, channels].
    """

    def __init__(
        self, layers: Sequence[str], counts: Tensor, memory: Sequence[Tensor], identities: Tensor | None
    ) -> None:
        both = zip(memory[: len(layers)], memory[len(layers) :], strict=True)
        self.layers = dict(zip(layers, both, strict=True))
        self.counts, self.log_counts, self.identities = counts, log_counts(counts), identities

    def identity(self) -> Tensor | None:
        return None if self.identities is None else mean_identity(self.identities, self.counts)

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        keys, values = self.layers[layer]
        bias = self.log_counts[:, :, None].expand(-1, -1, keys.shape[2]).flatten(1)  # [B, N * tokens]
        bias = F.pad(bias, (key.shape[1], 0))[:, None, None]  # [B, 1, 1, T + N * tokens]
        return torch.cat([key, keys.flatten(1, 2)], dim=1), torch.cat([value, values.flatten(1, 2)], dim=1), bias
