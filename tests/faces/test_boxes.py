"""Boxes that show the same are one; what was found in a turned picture lies where it lies in the picture itself."""

import time

import numpy as np
import pytest

from faceref.faces.boxes import around_the_centre, overlap, suppress, turned_back

BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [22, 2, 26, 6]], dtype=np.float64)
SCORES = np.array([0.5, 0.9, 0.7, 0.8])


def test_of_boxes_that_share_most_of_their_area_the_best_stays():
    # the first two share 90 of 110; the last lies within the third, of which it is 16 of 100
    assert suppress(BOXES, SCORES, of_union=0.5).tolist() == [1, 3, 2]
    assert suppress(BOXES, SCORES, of_smaller=0.5).tolist() == [1, 3]
    assert suppress(BOXES, SCORES, of_union=0.85).tolist() == [1, 3, 2, 0]
    assert suppress(np.empty((0, 4)), np.empty(0), of_union=0.5).tolist() == []


@pytest.mark.parametrize("settings", [{"of_union": 0.3}, {"of_smaller": 0.5}, {"of_union": 0.5, "of_smaller": 0.9}])
@pytest.mark.parametrize("pairs", [100, 1_000_000])
def test_those_stay_that_stay_when_each_is_compared_with_all(settings: dict[str, float], pairs: int, monkeypatch):
    monkeypatch.setattr("faceref.faces.boxes.PAIRS", pairs)
    boxes, scores = scattered(400, 100)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        shares = [overlap(tuple(boxes[row]), tuple(boxes[better])) for better in kept]
        limits = (settings.get("of_union", 1), settings.get("of_smaller", 1))
        if all(share <= limit for pair in shares for share, limit in zip(pair, limits, strict=True)):
            kept.append(row)
    assert suppress(boxes, scores, **settings).tolist() == kept


def test_as_many_boxes_as_a_large_photograph_of_gravel_has_take_seconds():
    boxes, scores = scattered(25_000, 5000)
    began = time.process_time()
    assert len(suppress(boxes, scores, of_union=0.7)) > 20_000
    assert time.process_time() - began < 15  # two; compared with all others, a hundred


def scattered(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of 12 to 68 pixels in a square picture, and their scores, some of which are the same."""
    rng = np.random.default_rng(0)
    centres, halves = rng.random((count, 2)) * side, 6 * 2 ** (rng.integers(0, 6, count)[:, None] / 2)
    return np.concatenate([centres - halves, centres + halves], axis=1), rng.random(count).round(3)


def test_squares_keep_centre_and_longer_side():
    np.testing.assert_array_equal(around_the_centre(np.array([[0.0, 10, 4, 20]])), [[-3, 10, 7, 20]])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_pixel_of_the_turned_picture_is_found_again(turns: int):
    picture = np.zeros((5, 8))
    picture[1, 6] = 1
    y, x = np.argwhere(np.rot90(picture, turns) == 1)[0]
    np.testing.assert_array_equal(turned_back(np.array([x + 0.5, y + 0.5]), turns, (8, 5)), [6.5, 1.5])
