"""Encoding and decoding in strips: the whole picture's result, whatever the size of the strips."""

import pytest
import torch
from diffusers import VQModel
from networks import noise

from faceref.models.autoencoder import Autoencoder, PixelUnshuffleVQModel, decode, encode
from faceref.models.strips import decode_in_strips, encode_in_strips

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.05}


def paper_kind(attention: str = "", act_fn: str = "silu") -> VQModel:
    """An autoencoder like the released one: three levels, attention in the middle, a codebook.

    attention: "Attn", and it is in the levels, too.
    """
    levels = 3
    return VQModel(
        block_out_channels=(32, 32, 64),
        down_block_types=(f"{attention}DownEncoderBlock2D",) * levels,
        up_block_types=(f"{attention}UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        latent_channels=4,
        num_vq_embeddings=16,
        act_fn=act_fn,
    )


def small_kind(quantize: bool) -> PixelUnshuffleVQModel:
    return PixelUnshuffleVQModel(
        4, base_channels=32, residual_blocks=2, latent_channels=4, codebook_size=16, quantize=quantize
    )


KINDS = {
    "paper's": paper_kind,
    "attentive": lambda: paper_kind("Attn"),
    "of mish": lambda: paper_kind(act_fn="mish"),
    "continuous": lambda: small_kind(False),
    "quantised": lambda: small_kind(True),
}


@pytest.fixture(params=KINDS)
def vae(request) -> Autoencoder:
    torch.manual_seed(0)
    made = KINDS[request.param]()
    with torch.no_grad():
        for parameter in made.parameters():  # norms begin as ones and zeros, which would hide what is left out
            parameter += 0.05 * torch.randn_like(parameter)
    return made.eval()


@pytest.mark.parametrize("pixels", [1, 100, 1 << 15], ids=["row by row", "uneven strips", "at once"])
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_strips_are_the_whole_picture(vae, pixels, dtype):
    vae = vae.to(dtype)
    pictures, latents = noise(2, 3, 40, 56).clamp(-1, 1).to(dtype), noise(2, 4, 10, 14, seed=1).to(dtype)
    with torch.no_grad():
        whole = encode(vae, pictures), decode(vae, latents)
    strips = encode_in_strips(vae, pictures, pixels), decode_in_strips(vae, latents, pixels)
    for expected, found in zip(whole, strips, strict=True):
        assert found.shape == expected.shape
        assert found.dtype == dtype
        assert (found - expected).abs().max() < ROUNDING[dtype] * expected.abs().max()


def test_what_is_given_stays_as_it_was(vae):
    latents, pictures = noise(1, 4, 8, 8), noise(1, 3, 32, 32)
    before = latents.clone(), pictures.clone()
    decode_in_strips(vae, latents, 1)
    encode_in_strips(vae, pictures, 1)
    assert torch.equal(latents, before[0])
    assert torch.equal(pictures, before[1])
