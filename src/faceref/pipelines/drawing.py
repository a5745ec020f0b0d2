"""What becomes of denoised latents, whatever denoised them: decoded, and drawn larger with texture."""

import torch
from torch import Tensor

from faceref.models.autoencoder import Autoencoder, decode
from faceref.models.detail_decoder import (
    DetailDecoder,
    crispness_by_place,
    enlarged,
    shrink,
    with_colours_of,
    with_colours_seen,
    without_grid,
)
from faceref.models.fusion import PixelFusion
from faceref.models.reference import ReferenceCache
from faceref.models.strips import decode_in_strips
from faceref.models.texture import TEXTURE_CHANNELS, find_texture


class Drawing:
    """From latents to pictures, with the networks of a pipeline."""

    vae: Autoencoder
    fusion: PixelFusion | None
    detail: DetailDecoder | None = None
    in_strips: bool = False

    @property
    def is_textured(self) -> bool:
        """Whether its decoder is shown the references' texture, and told how crisply to draw."""
        return self.detail is not None and self.detail.config.get("textured", False)

    def enable_vae_tiling(self) -> None:
        """From now on encode and decode one picture at a time, in strips (`faceref.models.strips`).

        The results are the same but for rounding.
        """
        self.in_strips = True

    def shrink(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, H], as the pipeline is given them, at the size that the autoencoder works at."""
        return pictures if self.detail is None else shrink(pictures, self.detail.config["enlargement"])

    @torch.no_grad()
    def draw(
        self, latents: Tensor, lq: Tensor, crisp: float | None = None, shown: ReferenceCache | None = None
    ) -> Tensor:
        """Denoised latents [B, C, h, w] of the faces `lq` [B, 3, H, H] as pictures [B, 3, H, H], about [-1, 1].

        crisp: how crisply, by a decoder that is told; None: as crisply as it can. shown: the references.
        """
        if self.in_strips and len(latents) > 1:
            caches = [None] * len(latents) if shown is None else shown.split()
            one_by_one = zip(latents.split(1), lq.split(1), caches, strict=True)
            return torch.cat([self.draw(latent, face, crisp, cache) for latent, face, cache in one_by_one])
        decoded = self.decode(latents)
        return self.correct(decoded, latents, lq, *self.hints(decoded, lq, crisp, shown))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Denoised latents [B, C, h, w] as the autoencoder draws them at its own size, [B, 3, G, G], about [-1, 1]."""
        drawn_by = decode_in_strips if self.in_strips else decode  # they quantise first, if there is a codebook
        return drawn_by(self.vae, latents.to(self.vae.device, self.vae.dtype))

    @torch.no_grad()
    def hints(
        self, decoded: Tensor, lq: Tensor, crisp: float | None, shown: ReferenceCache | None
    ) -> tuple[Tensor, ...]:
        """What a textured decoder is given besides: texture [B, TEXTURE_CHANNELS, H, W], and how crisply to draw.

        The latter by place, [B, 1, H, W]. Nothing for other decoders.
        """
        if not self.is_textured:
            return ()
        by_place = crispness_by_place(*lq.shape[-2:]).to(lq)
        crispness = ((1.0 if crisp is None else crisp) * by_place).expand(len(lq), -1, -1, -1)
        if shown is None or shown.texture is None:
            return lq.new_zeros(len(lq), TEXTURE_CHANNELS, *lq.shape[-2:]), crispness
        return find_texture(enlarged(decoded, lq.to(decoded.device)), *shown.texture, shown.counts), crispness

    @torch.no_grad()
    def correct(self, decoded: Tensor, latents: Tensor, lq: Tensor, *hints: Tensor) -> Tensor:
        """What follows decoding, if anything does: decoded faces corrected by `lq`, or drawn larger; as `draw`.

        hints: what `hints` gives for these faces. What is drawn with them keeps the decoded colours, or those of
        `lq`, and no weave where there is no texture to hide it.
        """
        latents, lq, *told = (one.to(decoded.device, decoded.dtype) for one in (latents, lq, *hints))
        if self.detail is None:
            return decoded if self.fusion is None else self.fusion(decoded, lq)
        drawn = self.detail(latents, decoded, lq, *told)
        if not told:
            return drawn
        drawn = with_colours_seen(lq, with_colours_of(enlarged(decoded, lq), drawn))
        if (bare := ~told[0].flatten(1).any(dim=1)).any():
            drawn[bare] = without_grid(drawn[bare])
        return drawn
