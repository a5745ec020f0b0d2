"""Levels of faded and dark pictures: found, stretched, and put back."""

import numpy as np
import pytest
from PIL import Image

from faceref.pictures.levels import Levels, in_full_levels

YELLOWED = (0.45, 0.4, 0.3), (120, 105, 70)


def faded(image: Image.Image, contrast=(0.4, 0.4, 0.4), black=(120, 120, 120)) -> Image.Image:
    return Image.fromarray(np.rint(np.asarray(image) * np.array(contrast) + black).astype(np.uint8))


def apart(one: Image.Image, other: Image.Image) -> float:
    """The mean difference, levels."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_a_good_photograph_is_as_it_is(astronaut):
    assert in_full_levels(astronaut) is astronaut
    assert Levels().given_to(astronaut) is astronaut


@pytest.mark.parametrize(("contrast", "black"), [((0.4,) * 3, (120,) * 3), YELLOWED, ((0.12,) * 3, (0,) * 3)])
def test_what_faded_or_is_dark_looks_as_before_and_can_be_put_back(astronaut, contrast, black):
    photo = faded(astronaut, contrast, black)
    levels = Levels.of(photo)
    stretched = levels.stretched(photo)
    assert apart(photo, astronaut) > 40
    assert apart(stretched, astronaut) < 10
    assert apart(levels.given_to(stretched), photo) < 1


def test_nothing_becomes_darker_or_lighter_than_the_print(astronaut):
    levels = Levels.of(faded(astronaut))
    full = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    drawn = np.asarray(levels.given_to(full))
    assert drawn.min() >= 118
    assert drawn.max() <= 224


def test_what_lies_outside_of_the_photograph_says_nothing(astronaut):
    pixels, mask = np.asarray(faded(astronaut)).copy(), np.full((512, 512), 255, np.uint8)
    pixels[:128], mask[:128] = 0, 0
    photo = Image.fromarray(pixels)
    assert Levels.of(photo) == Levels()
    assert Levels.of(photo, mask) != Levels()
    assert Levels.of(photo, 0 * mask) == Levels()


def test_a_picture_of_one_colour_comes_back():
    wall = Image.new("RGB", (40, 60), (90, 80, 200))
    levels = Levels.of(wall)
    assert apart(levels.given_to(levels.stretched(wall)), wall) == 0
