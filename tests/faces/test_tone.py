"""The tone of a print."""

import numpy as np
import pytest
from PIL import Image

from faceref.faces import tone
from faceref.faces.tone import Tone
from faceref.pictures.colour import LUMINANCE


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_print_has_the_same_tone_as_if_every_pixel_were_looked_at(
    size: int, astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    luminance = np.asarray(astronaut.resize((size, size)), dtype=np.float32) @ np.array(LUMINANCE, np.float32)
    grain = np.random.default_rng(0).normal(0, 6, (size, size, 3)).astype(np.float32)
    sepia = luminance[..., None] * np.array([1, 0.9, 0.7], dtype=np.float32) + grain
    everywhere = np.ones((size, size), dtype=bool)
    some = Tone(sepia, everywhere)
    monkeypatch.setattr(tone, "EVERY", 0)
    every = Tone(sepia, everywhere)
    assert some.is_all
    assert some.spread == pytest.approx(every.spread, abs=0.1)
    np.testing.assert_allclose(some.colour(sepia), every.colour(sepia), atol=0.4)  # levels
