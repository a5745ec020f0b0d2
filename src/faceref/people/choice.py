"""Which photographs of a person serve best as references of one face: those that add most to what the others show."""

import numpy as np

from faceref.people.measure import Measure


def farthest_points(
    target: np.ndarray,
    others: np.ndarray,
    measure: Measure,
    *,
    minimum: float = 0.0,
    maximum: float = np.inf,
    at_most: int | None = None,
) -> list[int]:
    """Positions in `others` [N, D], chosen by farthest point sampling from `target` [D] (Section 4.1 of ReF-LDM).

    First comes the face least like the target, then always the one farthest from all before. Only those whose distance
    to the target, in the measure, is minimum <= distance < maximum are taken: nearer ones are almost the target itself,
    farther ones perhaps somebody else. `at_most` bounds their number.
    """
    to_target = measure.between(others, target)  # [N]
    allowed = np.flatnonzero((to_target >= minimum) & (to_target < maximum))
    wanted = len(allowed) if at_most is None else min(at_most, len(allowed))
    nearest = to_target[allowed]  # to what is chosen already
    order: list[int] = []
    while len(order) < wanted:
        best = int(nearest.argmax())
        order.append(int(allowed[best]))
        nearest = np.minimum(nearest, measure.between(others[allowed], others[allowed[best]]))
        nearest[best] = -np.inf
    return order
