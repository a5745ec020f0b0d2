"""Moving pictures."""

import torch

from faceref.models.warp import warp


def test_coordinates_are_exact_under_autocast_as_training_and_validation_have_it():
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    shifted = torch.tensor([[[1.0, 0.0, 2 * 3 / 256], [0.0, 1.0, 0.0]]])  # by three pixels; a picture's side is 2
    with torch.autocast("cpu", torch.bfloat16):
        moved = warp(picture, shifted, (256, 256))
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved[..., :-3], picture[..., 3:], atol=2e-4, rtol=0)
