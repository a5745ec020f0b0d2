"""References by the rule of FFHQ-Ref: not too near, not too far, the one farthest from all before first."""

import numpy as np

from faceref.people.choice import farthest_points
from faceref.people.measure import Measure

TARGET = np.zeros(1, np.float32)
LINE = np.array([[0.05], [1], [2], [3.5], [4], [11]], dtype=np.float32)


def choose(**rules: float | int) -> list[float]:
    order = farthest_points(TARGET, LINE, Measure.EUCLIDEAN, **rules)  # type: ignore[arg-type]
    return [round(float(LINE[i, 0]), 2) for i in order]


def test_farthest_points_worked_out_by_hand():
    # 0.05 is too near and 11 too far; 4 is farthest from 0; then 2 is 2 from both ends, then 1 (1 from both 0 and 2),
    # then 3.5, half from 4
    assert choose(minimum=0.1, maximum=10.0) == [4, 2, 1, 3.5]
    assert choose(minimum=0.1, maximum=10.0, at_most=2) == [4, 2]
    assert choose(maximum=2.0) == [1, 0.05]  # the maximum itself is too far


def test_without_rules_everything_is_ordered():
    assert sorted(choose()) == [0.05, 1, 2, 3.5, 4, 11]
    assert choose()[0] == 11
    assert farthest_points(TARGET, LINE[:0], Measure.EUCLIDEAN) == []


def test_the_distance_is_the_measures():
    target, orthogonal, near = np.eye(2, dtype=np.float32)[0], np.eye(2, dtype=np.float32)[1], np.array([0.6, 0.8])
    others = np.stack([near, orthogonal]).astype(np.float32)
    assert farthest_points(target, others, Measure.COSINE, maximum=0.5) == [0]  # 1 - 0.6 and 1
    assert farthest_points(target, others, Measure.EUCLIDEAN, maximum=0.5) == []  # 0.89 and 1.41
