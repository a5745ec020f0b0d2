"""Which photographs of a person serve best as references of one face: those that add most to what the others show."""

from typing import Any

import numpy as np

from faceref.errors import PhotoError
from faceref.faces.face import Landmarker
from faceref.people.measure import Measure
from faceref.people.person import Identity, Person, Reference, SkippedReference
from faceref.people.references import no_reference

TURN = 0.5  # of quality that half a turn more costs: a good profile serves a frontal face less than a fair portrait


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


def choose_references(person: Identity[Any], yaw: float, at_most: int, landmarker: Landmarker) -> Person:
    """The person by those references that serve best for a face turned by `yaw`, read; `at_most` of them, best first.

    Of twice as many good ones (`faceref.people.person.Traits`), turned like the face, those that differ most. Where
    there are no more than `at_most`, all in their order. One that cannot be read any more is left out, and another
    takes its place. Raises NoFaceError if not one can be read.
    """
    candidates = list(range(len(person.references)))
    if len(candidates) > at_most:
        candidates = _ranked(person, yaw, at_most, landmarker)
    read: list[Reference] = []
    skipped: list[SkippedReference] = []
    for i in candidates:
        if len(read) == at_most:
            break
        try:
            read.append(person.references[i].reference())
        except PhotoError as error:
            skipped.append(SkippedReference.because(person.references[i].name, error))
    if not read:
        raise no_reference(skipped)
    return Person(tuple(read), (*person.skipped, *skipped), person.name)


def _ranked(person: Identity[Any], yaw: float, at_most: int, landmarker: Landmarker) -> list[int]:
    """All positions, in the order in which they are wanted."""
    traits = [one.traits(landmarker) for one in person.references]
    merits = np.array([one.score - TURN * abs(one.yaw - yaw) for one in traits])
    order = np.argsort(-merits, kind="stable")
    best, good, rest = order[0], order[1 : 2 * at_most], order[2 * at_most :]
    varied = farthest_points(person.embeddings[best], person.embeddings[good], Measure.EUCLIDEAN)
    return [int(best), *good[varied].tolist(), *rest.tolist()]
