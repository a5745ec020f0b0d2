"""DetailDecoder: it enlarges at first; then any size, and all of its inputs count, texture and crispness too."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from faceref.models.detail_decoder import (
    COLOUR_CHANGE,
    DetailDecoder,
    shrink,
    with_colours_of,
    with_colours_seen,
    without_grid,
)
from faceref.models.texture import TEXTURE_CHANNELS, blur, luminance

SIZES = {"latent_channels": 4, "channels": (32, 16, 8, 8), "residual_blocks": (1, 0, 0, 0)}


def new(seed: int, **settings: bool) -> DetailDecoder:
    torch.manual_seed(seed)
    return DetailDecoder(**SIZES, **settings)  # type: ignore[arg-type]


def trained(seed: int = 0, **settings: bool) -> DetailDecoder:
    decoder = new(seed, **settings)
    torch.nn.init.normal_(decoder.conv_out.weight, std=0.1)
    return decoder.requires_grad_(False)


def face(batch: int = 2, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, what they decode to, and the LQ picture."""
    draw = torch.Generator().manual_seed(0)
    shapes = (4, height, width), (3, 4 * height, 4 * width), (3, 8 * height, 8 * width)
    latents, decoded, lq = (torch.randn(batch, *shape, generator=draw) for shape in shapes)
    return latents, decoded, lq


def shown(batch: int = 2, height: int = 64, width: int = 64) -> Tensor:
    """Texture."""
    return torch.randn(batch, TEXTURE_CHANNELS, height, width, generator=torch.Generator().manual_seed(1))


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


@pytest.mark.parametrize(("textured", "hints"), [(True, 0), (True, 1), (False, 2)])
def test_texture_and_crispness_are_for_a_textured_one_and_both(textured: bool, hints: int):
    with pytest.raises(ValueError, match="a textured decoder, and only that"):
        new(0, textured=textured)(*face(), *(shown(), torch.ones(2))[:hints])


def test_a_new_textured_one_enlarges_and_no_more():
    latents, decoded, lq = face()
    drawn = new(0, textured=True)(latents, decoded, lq, shown(), torch.ones(2))
    torch.testing.assert_close(drawn, F.interpolate(decoded, scale_factor=2, mode="bicubic"))


def test_a_trained_textured_one_looks_at_every_channel_of_texture_and_is_told_how_crisply_to_draw():
    decoder, seen, texture, crisp = trained(textured=True), face(), shown(), torch.ones(2)
    drawn = decoder(*seen, texture, crisp)
    for channel in range(TEXTURE_CHANNELS):
        less = texture.clone()
        less[:, channel] = 0
        assert (decoder(*seen, less, crisp) - drawn).abs().max() > 1e-3
    assert (decoder(*seen, texture, 0 * crisp) - drawn).abs().max() > 1e-3
    without = [decoder(*seen, 0 * texture, share * crisp) for share in (0, 1)]
    assert (without[0] - without[1]).abs().max() > 1e-3, "without references, too"


def test_each_face_of_a_batch_has_its_own_texture_and_crispness():
    decoder, seen, texture, crisp = trained(textured=True), face(), shown(), torch.tensor([0.3, 1.0])
    alone = [decoder(*(x[i : i + 1] for x in (*seen, texture, crisp))) for i in range(2)]
    torch.testing.assert_close(decoder(*seen, texture, crisp), torch.cat(alone))


def test_texture_is_for_those_levels_alone_whose_patches_are_no_larger_than_four_pixels():
    textured, plain = (decoder.state_dict() for decoder in (new(0, textured=True), new(0)))
    names = [f"inputs.{level}.weight" for level in range(4)]
    more = [(textured[name].shape[1] - plain[name].shape[1]) / (8 >> level) ** 2 for level, name in enumerate(names)]
    assert more == [0, 5, 5, 5], "texture and crispness, of each pixel"


@pytest.mark.parametrize("textured", [False, True])
def test_one_that_is_saved_draws_the_same_again(tmp_path: Path, textured: bool):
    decoder, hints = trained(textured=textured), (shown(), torch.tensor([0.3, 1.0])) if textured else ()
    decoder.save_pretrained(tmp_path)
    again = DetailDecoder.from_pretrained(tmp_path)
    assert torch.equal(decoder(*face(), *hints), again(*face(), *hints))


def test_a_decoder_from_before_there_was_texture_is_shown_none(tmp_path: Path):
    decoder = trained()
    decoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["textured"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = DetailDecoder.from_pretrained(tmp_path)
    assert not again.config["textured"]
    assert torch.equal(decoder(*face()), again(*face()))


@pytest.mark.parametrize("textured", [False, True])
def test_no_level_dies_in_training(textured: bool):
    decoder = trained(textured=textured).requires_grad_(True)
    decoder(*face(), *((shown(), torch.ones(2)) if textured else ())).abs().mean().backward()
    for name in ("inputs", "ups"):
        gradients = [level.weight.grad for level in getattr(decoder, name)]
        assert all(gradient is not None and gradient.norm() > 1e-5 for gradient in gradients), name


def test_levels_that_do_not_fit_the_patch_are_refused():
    with pytest.raises(ValueError, match="patch_size 8 takes 4 levels"):
        DetailDecoder(channels=(32, 16, 8), residual_blocks=(1, 1, 0))


def test_shrinking_takes_means():
    pictures = torch.tensor([[[[0.0, 2.0, 1.0, 1.0], [4.0, 2.0, 1.0, 1.0]]]])
    assert torch.equal(shrink(pictures, 2), torch.tensor([[[[2.0, 1.0]]]]))


def test_colours_are_those_decoded_but_for_a_little_and_luminance_is_what_was_drawn():
    decoded = 0.3 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    drawn = decoded + 0.02 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    tinted = drawn + torch.tensor([0.02, -0.01, 0.0]).view(1, 3, 1, 1)  # a little, everywhere
    sparks = tinted.clone()
    sparks[:, 2, 20:24, 20:24] -= 0.8  # yellow
    for picture in (drawn, tinted, sparks):
        torch.testing.assert_close(luminance(with_colours_of(decoded, picture)), luminance(picture), atol=1e-5, rtol=0)
    torch.testing.assert_close(with_colours_of(decoded, tinted), tinted, atol=1e-5, rtol=0)
    coloured = with_colours_of(decoded, sparks)
    change = (coloured - luminance(coloured)) - (decoded - luminance(decoded))
    assert change.abs().max() < 2 * COLOUR_CHANGE
    assert (sparks - tinted).abs().max() > 10 * COLOUR_CHANGE


def faces_with_irises() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture [1, 3, 64, 64], and the same with a blue iris of 8 pixels in it, of the same luminance."""
    plain = 0.3 * blur(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), 3.0)
    blue = torch.tensor([-0.1, 0.0, 0.3]).view(1, 3, 1, 1)
    iris = torch.zeros(1, 1, 64, 64)
    iris[..., 28:36, 28:36] = 1
    return plain, plain + iris * (blue - luminance(blue))


def test_colours_that_a_soft_photograph_shows_are_taken_from_it():
    drawn, photograph = faces_with_irises()
    seen = with_colours_seen(blur(photograph, 1.0), drawn)
    torch.testing.assert_close(luminance(seen), luminance(drawn), atol=1e-5, rtol=0)
    inside = (..., slice(30, 34), slice(30, 34))
    before, after = ((one - photograph)[inside].abs().mean() for one in (drawn, seen))
    assert after < before / 2


@pytest.mark.parametrize("damage", ["noise", "blur"])
def test_colours_of_a_photograph_that_shows_little_are_not_believed(damage: str):
    drawn, photograph = faces_with_irises()
    noise = 0.5 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    lines = 0.6 * torch.cos(torch.arange(64) / 3).expand(1, 3, 64, 64)  # which a blur takes away
    lq, drawn = (photograph + noise, drawn) if damage == "noise" else (blur(photograph, 8.0), drawn + lines)
    change = (with_colours_seen(lq, drawn) - drawn).abs().mean()
    whole = (lq - drawn - luminance(lq - drawn)).abs().mean()
    assert change < 0.1 * whole


def test_each_picture_is_believed_by_what_it_shows():
    drawn, photograph = faces_with_irises()
    noisy = photograph + 0.5 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    together = with_colours_seen(torch.cat([photograph, noisy]), drawn.expand(2, -1, -1, -1))
    torch.testing.assert_close(together[:1], with_colours_seen(photograph, drawn))
    torch.testing.assert_close(together[1:], with_colours_seen(noisy, drawn))


@pytest.mark.parametrize(("period", "left"), [(2.0, (0, 1e-3)), (2.13, (0, 0.05)), (4.0, (0.9, 1)), (8.0, (0.99, 1))])
def test_what_alternates_from_pixel_to_pixel_goes_and_all_else_stays(period: float, left: tuple[float, float]):
    waves = torch.cos(2 * math.pi * torch.arange(128) / period)
    for picture in (waves.expand(1, 3, 128, 128), waves[:, None].expand(1, 3, 128, 128)):
        share = without_grid(picture)[..., 32:96, 32:96].std() / picture[..., 32:96, 32:96].std()
        assert left[0] <= share <= left[1] + 1e-3


def test_a_picture_corrected_in_training_keeps_its_levels():
    """bfloat16, which autocast convolves in, has some 256 of them between 1/2 and 1."""
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = without_grid(picture)
    with torch.autocast("cpu", torch.bfloat16):
        corrected = without_grid(picture)
    assert corrected.dtype == torch.float32
    assert torch.equal(corrected, expected)
