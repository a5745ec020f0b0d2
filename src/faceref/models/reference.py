"""What the network remembers of reference photographs (CacheKV of ReF-LDM) and the attention that reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from faceref.models.attention import attend, distance_bias, linear
from faceref.models.identity_encoder import mean_identity

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Encoder:
    """What encoded references: a fingerprint of the networks, and the side of the photographs in pixels."""

    network: str
    resolution: int


@dataclass(frozen=True, eq=False)
class ReferenceCache:
    """Keys and values of N references for each of B images, per self-attention layer, and what else is shown of them.

    layers: names of the self-attention layers.
    keys, values: per layer [B, N * tokens, channels], after the layer's own normalisation and projection.
    multiplicity: [B, N], how often a reference counts: 0 absent (padding), 1 once, n as if it were given n times.
        None says that every reference counts once; attention then needs no bias, which is its fastest path.
    encoder: who made it; None: the network that it is handed to, as in training.
    identities: [B, N, D], who they show, for a network that is told (`faceref.models.identity_encoder`); else None.
    texture: keys and values [B, N * tokens, ...] in which `faceref.models.texture` looks for detail, for a decoder that
        is shown it; no denoiser attends to it.
    """

    layers: tuple[str, ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    references: int
    multiplicity: Tensor | None = None
    encoder: Encoder | None = None
    identities: Tensor | None = None
    texture: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """The number of references N of each image, absent ones included."""
        return self.references

    @property
    def batch_size(self) -> int:
        return self.keys[0].shape[0]

    @property
    def counts(self) -> Tensor:
        """`multiplicity` spelled out: [B, N] float32."""
        if self.multiplicity is None:
            return torch.ones(self.batch_size, self.references, device=self.keys[0].device)
        return self.multiplicity

    @property
    def holds(self) -> tuple[tuple[str, ...], bool, bool]:
        """What there is of each reference."""
        return self.layers, self.identities is not None, self.texture is not None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that there is of references, in one order."""
        known = [one for one in (self.multiplicity, self.identities) if one is not None]
        return (*self.keys, *self.values, *known, *(self.texture or ()))

    def changed(self, change: Change, exact: Change | None = None) -> "ReferenceCache":
        """The cache with all its tensors, [B, N * tokens, ...] each, changed.

        exact: for multiplicity and texture, which are in float32 whatever the network computes in; by default the same.
        """
        exact = exact or change
        return replace(
            self,
            keys=tuple(map(change, self.keys)),
            values=tuple(map(change, self.values)),
            multiplicity=None if self.multiplicity is None else exact(self.multiplicity),
            identities=None if self.identities is None else change(self.identities),
            texture=None if self.texture is None else (exact(self.texture[0]), exact(self.texture[1])),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "ReferenceCache":
        """The same cache elsewhere; `dtype` is the network's: multiplicities and texture stay float32."""
        return self.changed(lambda one: one.to(device, dtype), exact=lambda one: one.to(device))

    def expand(self, batch_size: int) -> "ReferenceCache":
        """The references of one image (B = 1) for `batch_size` images alike, without copying."""
        return self.changed(lambda one: one.expand(batch_size, *[-1] * (one.ndim - 1)))

    def split(self) -> "list[ReferenceCache]":
        """The references of each of the B images."""
        return [self.changed(lambda one, i=i: one[i : i + 1]) for i in range(self.batch_size)]

    def first(self, count: int) -> "ReferenceCache":
        """The first `count` of N >= 1 references alone; 0 leaves an empty cache."""
        return replace(self.changed(lambda one: one[:, : one.shape[1] // len(self) * count]), references=count)

    def with_multiplicity(self, multiplicity: Tensor | None) -> "ReferenceCache":
        """The same references, counted differently: [B, N] floats >= 0."""
        return replace(self, multiplicity=multiplicity)

    @staticmethod
    def batch(caches: Sequence["ReferenceCache | None"]) -> "ReferenceCache":
        """One cache for a batch of images: each entry holds the references of its own image(s), None: an image without.

        Shorter ones are padded with absent references (zeros with multiplicity 0); at least one entry is not None.
        """
        template = next(cache for cache in caches if cache is not None)
        nobody = template._narrow_to_nobody()
        rows = [nobody if cache is None else cache for cache in caches]
        encoders = {row.encoder for row in rows} - {None}
        if len(encoders) > 1 or any(row.holds != template.holds for row in rows):
            raise ValueError("reference caches of different networks cannot be put together")
        references = max(len(row) for row in rows)
        plain = all(row.multiplicity is None and len(row) == references for row in rows)
        identities = [row.identities for row in rows if row.identities is not None]  # of all, or of none
        textures = list(zip(*(row.texture for row in rows if row.texture is not None), strict=True))
        return ReferenceCache(
            template.layers,
            keys=tuple(_pad_and_stack(keys) for keys in zip(*(row.keys for row in rows), strict=True)),
            values=tuple(_pad_and_stack(values) for values in zip(*(row.values for row in rows), strict=True)),
            references=references,
            multiplicity=None if plain else torch.cat([F.pad(row.counts, (0, references - len(row))) for row in rows]),
            encoder=next(iter(encoders), None),
            identities=_pad_and_stack(identities) if identities else None,
            texture=(_pad_and_stack(textures[0]), _pad_and_stack(textures[1])) if textures else None,
        )

    def _narrow_to_nobody(self) -> "ReferenceCache":
        nobody = self.changed(lambda one: one[:1, :0])
        return replace(nobody, references=0, multiplicity=None, encoder=None)


def _pad_and_stack(rows: Sequence[Tensor]) -> Tensor:
    """[b_i, N_i * tokens, C] each -> [sum b_i, max N_i * tokens, C], zeros behind the shorter ones."""
    length = max(row.shape[1] for row in rows)
    return torch.cat([F.pad(row, (0, 0, 0, length - row.shape[1])) for row in rows])


class Memory:
    """What the self-attention layers of one pass attend to beside their own tokens: here, to nothing."""

    @property
    def parts(self) -> "tuple[Memory, ...]":
        """What each copy of the batch attends to, where a pass computes several (`Several`); else the memory itself."""
        return (self,)

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """A layer's own key and value [B, T, C] -> with those beside them [B, T + ..., C]; bias for the logits."""
        return key, value, None

    def identity(self) -> Tensor | None:
        """Who the references show, [B, D], 0 where they show nobody; None if that is not known of any."""
        return None


class Recording(Memory):
    """Keeps what a pass over references makes: per layer (key, value), each [B * N, tokens, channels]."""

    def __init__(self) -> None:
        self.layers: dict[str, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        self.layers[layer] = (key, value)
        return key, value, None


class Reading(Memory):
    """The references of a cache."""

    def __init__(self, cache: ReferenceCache) -> None:
        self.layers = dict(zip(cache.layers, zip(cache.keys, cache.values, strict=True), strict=True))
        self.references = len(cache)
        self.log_counts = None if cache.multiplicity is None else log_counts(cache.multiplicity)  # [B, N]
        self.counts, self.identities = cache.multiplicity, cache.identities

    def identity(self) -> Tensor | None:
        return None if self.identities is None else mean_identity(self.identities, self.counts)

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Key and value [B, T, C] -> with the references' [B, T + N * tokens, C]."""
        reference_key, reference_value = self.layers[layer]
        bias = None
        if self.log_counts is not None and self.references:
            tokens = reference_key.shape[1] // self.references
            bias = self.log_counts.to(key.dtype).repeat_interleave(tokens, dim=1)  # [B, N * tokens]
            bias = F.pad(bias, (key.shape[1], 0))[:, None, None]  # [B, 1, 1, T + N * tokens]; own tokens: 0, so no NaN
        return torch.cat([key, reference_key], dim=1), torch.cat([value, reference_value], dim=1), bias


def log_counts(counts: Tensor) -> Tensor:
    """What is added to a token's logit so that it counts n times in the softmax: log n.

    log 0 leaves it out, as a number: an infinite bias is no number in the gradients of some attention kernels.
    """
    return counts.log().clamp(min=-1e4)


class Several(Memory):
    """Memories for one pass over as many copies of a batch, which lie behind each other and differ in nothing else."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self.memories = tuple(memories)

    @property
    def parts(self) -> tuple[Memory, ...]:
        return self.memories


@dataclass(frozen=True, eq=False)
class Shown:
    """What one pass through a network hands down to each of its self-attention layers.

    memory: the references to attend to. features: q' [B, c, s, s] to inject (`faceref.models.injection`), or None.
    """

    memory: Memory = field(default_factory=Memory)
    features: Tensor | None = None

    @property
    def copies(self) -> int:
        """Of the batch, that a pass computes: one for each part of the memory."""
        return len(self.memory.parts)

    def identity(self) -> Tensor | None:
        """Who is shown to each copy of the batch, [copies * B, D]; None: nobody to any."""
        told = [part.identity() for part in self.memory.parts]
        known = next((one for one in told if one is not None), None)
        return None if known is None else torch.cat([torch.zeros_like(known) if one is None else one for one in told])

    def repeated(self, x: Tensor) -> Tensor:
        """A batch [B, ...] as so many copies behind each other [copies * B, ...]."""
        return x if self.copies == 1 else x.repeat(self.copies, *[1] * (x.ndim - 1))


class ReferenceAttnProcessor:
    """Self-attention whose keys and values are continued by the references' (ReF-LDM, section 3.2); it has no state.

    layer: its name in a memory; of an autoencoder's, which is shown none, it does not matter. distance_bias: ours, for
    networks trained on few samples: see the function of that name.
    """

    def __init__(self, layer: str = "", distance_bias: bool = False) -> None:
        self.layer = layer
        self.distance_bias = distance_bias

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # [B, C, h, w]
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *,
        shown: Shown = Shown(),
    ) -> Tensor:
        """The layer's output [B, C, h, w]; the arguments between are diffusers' protocol and unused here."""
        assert attn.group_norm is not None and attn.to_k is not None  # noqa: PT018 - for the type checker
        assert attn.to_v is not None and attn.to_out is not None  # noqa: PT018
        tokens = attn.group_norm(hidden_states.flatten(2)).transpose(1, 2)  # [B, h * w, C]
        own = linear(attn.to_q, tokens), linear(attn.to_k, tokens), linear(attn.to_v, tokens)
        near = None
        if self.distance_bias:
            height, width = hidden_states.shape[2:]
            near = distance_bias(height, width, attn.heads, tokens.device).to(tokens.dtype)
        # of one copy none is cut: OpenVINO does not know the operation that a graph would have for it
        copies = [own] if shown.copies == 1 else zip(*(x.chunk(shown.copies) for x in own), strict=True)
        attended = [
            self._attend(memory, *tokens, attn.heads, near)
            for memory, tokens in zip(shown.memory.parts, copies, strict=True)
        ]
        projection = cast(nn.Linear, attn.to_out[0])
        tokens = linear(projection, torch.cat(attended) if len(attended) > 1 else attended[0])  # [B, h * w, C]
        output = tokens.transpose(1, 2).unflatten(2, hidden_states.shape[2:])
        return (output + hidden_states) / attn.rescale_output_factor

    def _attend(
        self, memory: Memory, query: Tensor, key: Tensor, value: Tensor, heads: int, near: Tensor | None
    ) -> Tensor:
        """Query, key and value [B, T, C] of a layer's own tokens -> what they attend to there and in a memory."""
        tokens = key.shape[1]
        key, value, bias = memory.extend(self.layer, key, value)
        if near is not None:
            near = near.repeat(1, 1, 1, key.shape[1] // tokens)  # each reference lies over the image
            bias = near if bias is None else bias + near

        def split_heads(x: Tensor) -> Tensor:
            return x.unflatten(2, (heads, -1)).transpose(1, 2)  # [B, tokens, C] -> [B, heads, tokens, C / heads]

        attended = attend(split_heads(query), split_heads(key), split_heads(value), bias)
        return attended.transpose(1, 2).flatten(2)  # [B, T, C]
