"""Augmentation of references: bounded, per picture, and driven by the generator alone."""

import numpy as np
import skimage.data
import torch
import torch.nn.functional as F

from faceref.data.augment import (
    UNCHANGED,
    ReferenceAugmentation,
    TargetAugmentation,
    augment_references,
    augment_targets,
)


def pictures(count: int) -> torch.Tensor:
    astronaut = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None].float() / 127.5 - 1
    face = F.interpolate(astronaut[..., :200, 130:330], size=(64, 64), mode="area")
    return face.expand(count, -1, -1, -1)


def test_same_generator_same_pictures_whatever_the_global_seed():
    first = augment_references(pictures(4), torch.Generator().manual_seed(0))
    torch.manual_seed(99)
    assert torch.equal(first, augment_references(pictures(4), torch.Generator().manual_seed(0)))
    assert not torch.equal(first[0], first[1])
    assert first.shape == (4, 3, 64, 64)
    assert first.abs().max() <= 1


def test_half_are_flipped_and_the_rest_only_moved_a_little():
    face = pictures(200)
    augmented = augment_references(face, torch.Generator().manual_seed(0))

    def likeness(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a, b = (F.avg_pool2d(x, 8).flatten(1) for x in (a, b))
        return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))

    upright, mirrored = likeness(augmented, face), likeness(augmented, face.flip(-1))
    assert 0.4 < (mirrored > upright).float().mean() < 0.6
    assert torch.maximum(upright, mirrored).min() > 0.6


def test_geometry_stays_within_the_papers_bounds():
    # a dot in the middle: no flip, and no perspective drawn about the middle, moves it far
    dot = torch.full((300, 3, 65, 65), -1.0)
    dot[:, :, 31:34, 31:34] = 1.0
    mass = augment_references(dot, torch.Generator().manual_seed(0)).mean(1) + 1
    mass = mass / mass.sum((1, 2), keepdim=True)
    grid = torch.arange(65.0)
    x, y = (mass.sum(1) * grid).sum(1) - 32, (mass.sum(2) * grid).sum(1) - 32
    # 5 % of 65 is 3.3; corners drawn inwards by up to 10 % of the side move the middle by at most another 5 %
    assert max(x.abs().max(), y.abs().max()) < 7
    assert min(x.std(), y.std()) > 1


def test_colour_factors_have_the_papers_spread():
    grey = torch.zeros(400, 3, 16, 16)  # brightness alone changes a uniform grey
    values = augment_references(grey, torch.Generator().manual_seed(0)).mean((1, 2, 3)).numpy() / 2 + 0.5
    assert 0.4 - 1e-3 <= values.min() < 0.42
    assert 0.58 < values.max() <= 0.6 + 1e-3
    assert np.isclose(values.mean(), 0.5, atol=0.01)
    colour = torch.tensor([0.4, -0.2, -0.3]).view(1, 3, 1, 1).expand(400, 3, 16, 16)
    assert augment_references(colour, torch.Generator().manual_seed(0)).mean((2, 3)).std(0).min() > 0.03


def test_an_augmentation_of_nothing_changes_nothing():
    nothing = ReferenceAugmentation(**dict.fromkeys(ReferenceAugmentation.model_fields, 0.0))
    face = pictures(4)
    torch.testing.assert_close(augment_references(face, torch.Generator(), nothing), face, atol=1e-5, rtol=0)


def test_a_gentler_augmentation_keeps_references_in_their_place():
    gentle = ReferenceAugmentation(rotation=0, shift=0.02, scale=0, perspective=0, flip_probability=0)
    dot = torch.full((100, 3, 65, 65), -1.0)
    dot[:, :, 31:34, 31:34] = 1.0
    mass = augment_references(dot, torch.Generator().manual_seed(0), gentle).mean(1) + 1
    x = ((mass / mass.sum((1, 2), keepdim=True)).sum(1) * torch.arange(65.0)).sum(1) - 32
    assert 0.5 < x.abs().max() <= 0.02 * 65 + 0.01


def test_every_reference_is_seen_in_perspective_unless_a_share_is_asked_for():
    """The released configuration has RandomPerspective(distortion_scale=0.2, p=1.0)."""
    faces, none = pictures(100), dict.fromkeys(ReferenceAugmentation.model_fields, 0.0)
    shares = {"perspective_probability": 0.3}
    for settings, low, high in (({}, 100, 100), (shares, 15, 45)):
        only_perspective = ReferenceAugmentation(
            **{name: value for name, value in none.items() if not name.startswith("perspective")}, **settings
        )
        seen = augment_references(faces, torch.Generator().manual_seed(0), only_perspective)
        assert low <= ((seen - faces).abs().amax((1, 2, 3)) > 0.1).sum() <= high


def test_targets_are_moved_with_their_masks_in_a_share_of_the_samples():
    faces, masks = pictures(200), torch.ones(200, 1, 64, 64)
    often = TargetAugmentation(misaligned=0.4, shift=0.1)
    images, seen, moved = augment_targets(faces, masks, torch.Generator().manual_seed(0), often)
    assert 50 < moved.sum() < 110
    assert torch.equal(images[~moved], faces[~moved])
    assert torch.equal(seen[~moved], masks[~moved])
    assert ((images - faces).abs().amax((1, 2, 3))[moved] > 0.1).all()
    shares = seen.mean((1, 2, 3))[moved]
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert 0.7 < shares.min() < shares.max() < 1, "what came into view is no part of the photograph"


def test_toned_targets_are_grey_or_brown():
    faces, masks = pictures(60), torch.ones(60, 1, 64, 64)
    images, _, _ = augment_targets(faces, masks, torch.Generator().manual_seed(0), TargetAugmentation(toned=1.0))
    spread = (images.amax(1) - images.amin(1)).amax((1, 2))
    grey = spread < 1e-5
    assert 15 < grey.sum() < 45
    bright = images[~grey].mean((2, 3))
    assert (bright[:, 0] > bright[:, 1]).all()
    assert (bright[:, 1] > bright[:, 2]).all()


def test_without_being_asked_targets_stay_as_they_are():
    faces, masks = pictures(2), torch.ones(2, 1, 64, 64)
    images, seen, moved = augment_targets(faces, masks, torch.Generator(), UNCHANGED)
    assert images is faces
    assert seen is masks
    assert not moved.any()
