"""PixelFusion: nothing at first; then any size, and both pictures count."""

import torch
from diffusers.models.resnet import ResnetBlock2D

from faceref.models.fusion import PixelFusion, ResidualBlock


def trained() -> PixelFusion:
    torch.manual_seed(0)
    fusion = PixelFusion(channels=32, residual_blocks=1)
    torch.nn.init.normal_(fusion.conv_out.weight, std=0.1)
    return fusion


def test_its_blocks_are_those_of_diffusers_to_the_bit():
    block, x = ResidualBlock(32), torch.randn(2, 32, 8, 8)
    assert torch.equal(block(x), ResnetBlock2D.forward(block, x, None))  # type: ignore[arg-type]


def test_a_new_one_changes_nothing():
    restored, lq = torch.randn(2, 2, 3, 32, 32)
    assert torch.equal(PixelFusion()(restored, lq), restored)


def test_a_trained_one_looks_at_both_pictures_of_any_even_size():
    fusion = trained()
    restored, lq = torch.randn(2, 2, 3, 32, 48)
    corrected = fusion(restored, lq)
    assert corrected.shape == restored.shape
    assert not torch.equal(fusion(restored, -lq), corrected)
    assert not torch.equal(fusion(-restored, lq) + 2 * restored, corrected)


def test_faces_of_a_batch_do_not_mix():
    fusion = trained()
    restored, lq = torch.randn(2, 2, 3, 32, 32)
    together = fusion(restored, lq)
    alone = torch.cat([fusion(restored[i : i + 1], lq[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
