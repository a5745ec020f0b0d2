"""What becomes of denoised latents, whatever denoised them: decoded, drawn larger, given texture."""

import torch
from torch import Tensor

from faceref.models.autoencoder import Autoencoder, decode
from faceref.models.detail_decoder import DetailDecoder, shrink
from faceref.models.fusion import PixelFusion
from faceref.models.reference import TEXTURE, ReferenceCache
from faceref.models.strips import decode_in_strips
from faceref.models.texture import transfer_texture


class Drawing:
    """From latents to pictures, with the networks of a pipeline."""

    vae: Autoencoder
    fusion: PixelFusion | None
    detail: DetailDecoder | None = None
    in_strips: bool = False

    def enable_vae_tiling(self) -> None:
        """From now on encode and decode one picture at a time, in strips (`faceref.models.strips`).

        The results are the same but for rounding.
        """
        self.in_strips = True

    def output_side(self, side: int) -> int:
        """The side of the picture that it makes of a face of `side` pixels."""
        return side * (1 if self.fusion is None else self.fusion.scale)

    def shrink(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, H], as the pipeline is given them, at the size that the autoencoder works at."""
        return pictures if self.detail is None else shrink(pictures, self.detail.config["enlargement"])

    @torch.no_grad()
    def draw(
        self, latents: Tensor, lq: Tensor, crisp: float | None = None, shown: ReferenceCache | None = None
    ) -> Tensor:
        """Denoised latents [B, C, h, w] of the faces `lq` [B, 3, H, H] as pictures [B, 3, S, S], about [-1, 1].

        crisp, shown: how much of the texture of whose references they are given; None: nothing, nobody's.
        """
        if self.in_strips and len(latents) > 1:
            caches = [None] * len(latents) if shown is None else shown.split()
            one_by_one = zip(latents.split(1), lq.split(1), caches, strict=True)
            return torch.cat([self.draw(latent, face, crisp, cache) for latent, face, cache in one_by_one])
        return self.add_texture(self.correct(self.decode(latents), latents, lq), crisp, shown)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Denoised latents [B, C, h, w] as the autoencoder draws them, [B, 3, H, H], about [-1, 1]."""
        drawn_by = decode_in_strips if self.in_strips else decode  # they quantise first, if there is a codebook
        return drawn_by(self.vae, latents.to(self.vae.device, self.vae.dtype))

    @torch.no_grad()
    def correct(self, decoded: Tensor, latents: Tensor, lq: Tensor) -> Tensor:
        """What follows decoding, if anything does: decoded faces corrected by `lq`, or drawn larger; as `draw`."""
        lq = lq.to(decoded.device, decoded.dtype)
        if self.detail is not None:
            return self.detail(latents.to(lq.dtype), decoded, lq)
        return decoded if self.fusion is None else self.fusion(decoded, lq)

    @torch.no_grad()
    def add_texture(self, pictures: Tensor, crisp: float | None, shown: ReferenceCache | None) -> Tensor:
        """What comes last: drawn faces with the texture of their references, where there is any; as `draw`."""
        if not crisp or shown is None or (layer := shown.layer(TEXTURE)) is None:
            return pictures
        return transfer_texture(pictures, *layer, shown.counts, crisp)
