"""Grain is measured by how strong and how coarse it is, and given back as it was."""

import cv2
import numpy as np
import pytest

from faceref.faces.grain import Grain, grain_levels

EVERYWHERE = np.ones((160, 160), dtype=bool)


def grain(sigma: float, coarse: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).normal(0, 1, (160, 160, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(white, (0, 0), coarse) if coarse else white
    return blurred * sigma / blurred.std()


@pytest.mark.parametrize("coarse", [0, 0.8, 1.5])
def test_grain_is_as_strong_and_as_coarse_as_its_model(coarse: float):
    model = grain(8, coarse, 0)
    result = Grain(grain_levels(100 + model, EVERYWHERE)[0], 160, 160, np.random.default_rng(2)).rows(0, 160)
    assert result.shape == (160, 160, 3)
    assert result.std() == pytest.approx(8, rel=0.1)
    alike = [np.corrcoef(one[:, :-1].ravel(), one[:, 1:].ravel())[0, 1] for one in (model, result)]  # neighbours
    assert alike[1] == pytest.approx(alike[0], abs=0.08)


def test_it_has_the_levels_that_were_measured():
    everywhere = np.ones((480, 480), dtype=bool)
    white = np.random.default_rng(0).normal(0, 1, (480, 480, 3)).astype(np.float32)
    for model in (6 * white, 4 * white + 20 * cv2.GaussianBlur(white, (0, 0), 2)):
        (asked,) = grain_levels(model, everywhere)
        drawn = Grain(asked, 480, 480, np.random.default_rng(1))
        (levels,) = grain_levels(drawn.rows(0, 480), everywhere)
        assert levels[:3] == pytest.approx(asked[:3], rel=0.07)
        assert levels[3] == pytest.approx(asked[3], rel=0.25)  # a few waves to a picture
        assert drawn.deviation == pytest.approx(drawn.rows(0, 480).std((0, 1)), rel=0.02)


def test_each_channel_has_its_own_grain_and_one_without_gets_none():
    model = grain(8, 0, 0) * (1, 0.5, 0)
    result = Grain(grain_levels(model.astype(np.float32), EVERYWHERE)[0], 160, 160, np.random.default_rng(0)).rows(
        0, 160
    )
    assert result.std((0, 1)) == pytest.approx([8, 4, 0], rel=0.1, abs=1e-3)


def test_an_edge_is_no_grain():
    edges = np.full((160, 160, 3), 50, dtype=np.float32)
    edges[:, 80:] = 200
    edges[60:100, 20:60] = 10
    (levels,), (plain,) = (grain_levels(pixels + grain(3, 0, 0), EVERYWHERE) for pixels in (edges, 0))
    assert levels[:3] == pytest.approx(plain[:3], rel=0.15)


def test_of_few_pixels_nothing_is_known():
    few = np.zeros_like(EVERYWHERE)
    few[:5, :5] = True
    unknown, known = grain_levels(grain(8, 0, 0), few, EVERYWHERE)
    assert np.isnan(unknown).all()
    np.testing.assert_array_equal(known, grain_levels(grain(8, 0, 0), EVERYWHERE)[0])


def test_grain_in_parts_is_the_grain_in_one_piece():
    levels = np.array([[2.0, 1.0, 1.0], [1.5, 0.5, 0.5], [1.0, 0.5, 0.5], [1.0, 0.5, 0.5]])
    grain = Grain(levels, 300, 90, np.random.default_rng(0))
    parts = [grain.rows(top, min(top + 70, 300)) for top in range(0, 300, 70)]
    np.testing.assert_allclose(np.concatenate(parts), grain.rows(0, 300), atol=1e-4)
