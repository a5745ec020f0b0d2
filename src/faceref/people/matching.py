"""Which of several people a face is: how surely, or that nobody can say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit, softmax

from faceref.faces.certainty import Calibration, refusal_threshold
from faceref.people.person import Identity

# Chosen by benchmarks/album.py choose, on people whom no number in docs/people.md is about. Where several are looked
# for, a face is nobody's so many times as probably as one person's beforehand: of a few, no less than FEWEST.
MOST, FEWEST = 10, 3
SURE_AMONG_SEVERAL, TIMES_THE_SECOND = 0.5, 3.0
CERTAIN = 0.99  # surer than that are both of two faces of one person, in a collage


@dataclass(frozen=True, eq=False)
class Match:
    """How surely a face is a person.

    distance: of the face's probe to the mean of the references' embeddings. certainty: in [0, 1], that it is this
    person and neither another of those looked for nor anybody else.
    """

    person: Identity[Any]
    distance: float
    certainty: float


def match(probe: np.ndarray, score: float, people: Sequence[Identity[Any]]) -> tuple[Match, ...]:
    """How surely a face is each of N people, the surest first. probe: of the face, [128]; score: its quality.

    By Bayes' rule: two who are alike share what is sure of them, and the more are looked for, the closer a face must be
    to be believed. Beforehand the face is as probably nobody's as one of the people, if they are few.
    """
    if not people:
        return ()
    distances = np.array([person.distance(probe) for person in people])
    odds = Calibration.shipped().log_odds(distances, np.asarray(score))
    nobody = 1 if len(people) == 1 else min(max(len(people), FEWEST), MOST)
    certainties = softmax([*odds, np.log(nobody)])[:-1]
    matches = [Match(*parts) for parts in zip(people, distances.tolist(), certainties.tolist(), strict=True)]
    return tuple(sorted(matches, key=lambda one: one.distance))


def nearly_as_sure(other: np.ndarray | float, best: np.ndarray | float) -> np.ndarray | bool:
    """Whether of two faces with these certainties of one person the other may be them as well as the best.

    It may if the best has not TIMES_THE_SECOND its odds; of certainties above CERTAIN none is surer.
    """
    odds, best_odds = (logit(np.minimum(sure, CERTAIN)) for sure in (other, best))
    return odds + np.log(TIMES_THE_SECOND) >= best_odds


def is_sure(matches: Sequence[Match]) -> bool:
    """Whether the first of `match` may be believed: surely somebody of those looked for, and clearly which."""
    if len(matches) < 2:
        return bool(matches) and matches[0].certainty >= refusal_threshold()
    best, second = matches[0].certainty, matches[1].certainty
    return best >= SURE_AMONG_SEVERAL and best >= TIMES_THE_SECOND * second
