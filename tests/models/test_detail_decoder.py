"""DetailDecoder: it enlarges at first; then any size, and all of its inputs count."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.models.detail_decoder import DetailDecoder, shrink

SIZES = {"latent_channels": 4, "channels": (32, 16, 8, 8), "residual_blocks": (1, 0, 0, 0)}


def new(seed: int) -> DetailDecoder:
    torch.manual_seed(seed)
    return DetailDecoder(**SIZES)  # type: ignore[arg-type]


def trained(seed: int = 0) -> DetailDecoder:
    decoder = new(seed)
    torch.nn.init.normal_(decoder.conv_out.weight, std=0.1)
    return decoder.requires_grad_(False)


def face(batch: int = 2, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, what they decode to, and the LQ picture."""
    draw = torch.Generator().manual_seed(0)
    shapes = (4, height, width), (3, 4 * height, 4 * width), (3, 8 * height, 8 * width)
    latents, decoded, lq = (torch.randn(batch, *shape, generator=draw) for shape in shapes)
    return latents, decoded, lq


def test_a_new_one_enlarges_and_no_more():
    latents, decoded, lq = face()
    drawn = new(0)(latents, decoded, lq)
    torch.testing.assert_close(drawn, F.interpolate(decoded, scale_factor=2, mode="bicubic"))


def test_a_trained_one_looks_at_all_it_is_given_whatever_the_size():
    decoder, (latents, decoded, lq) = trained(), face(height=8, width=12)
    drawn = decoder(latents, decoded, lq)
    assert drawn.shape == lq.shape
    assert not torch.equal(decoder(-latents, decoded, lq), drawn)
    assert not torch.equal(decoder(latents, decoded, -lq), drawn)
    enlarged = F.interpolate(decoded, scale_factor=2, mode="bicubic")
    assert not torch.allclose(decoder(latents, -decoded, lq) + 2 * enlarged, drawn, atol=1e-3), "not only as its base"


def test_no_level_dies_in_training():
    decoder = trained().requires_grad_(True)
    decoder(*face()).abs().mean().backward()
    entering = {name: weight.grad for name, weight in decoder.named_parameters() if name.startswith(("inputs", "ups"))}
    assert all(gradient is not None and gradient.norm() > 1e-5 for gradient in entering.values()), entering.keys()


def test_levels_that_do_not_fit_the_patch_are_refused():
    with pytest.raises(ValueError, match="patch_size 8 takes 4 levels"):
        DetailDecoder(channels=(32, 16, 8), residual_blocks=(1, 1, 0))


def test_shrinking_takes_means():
    pictures = torch.tensor([[[[0.0, 2.0, 1.0, 1.0], [4.0, 2.0, 1.0, 1.0]]]])
    assert torch.equal(shrink(pictures, 2), torch.tensor([[[[2.0, 1.0]]]]))
