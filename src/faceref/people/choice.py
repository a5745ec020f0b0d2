"""Which photographs of a person serve best as references of one face: those that add most to what the others show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from faceref.errors import PhotoError
from faceref.faces.face import Landmarker
from faceref.people.measure import Measure
from faceref.people.person import Identity, Person, Reference, SkippedReference
from faceref.people.references import no_reference
from faceref.people.traits import Traits, traits_of

OPEN = 0.22  # eyes that are farther open than that are open: what is above is their shape


@dataclass(frozen=True)
class Weights:
    """What counts in a reference, in units of its quality (`faceref.people.traits`).

    turn, nod: what a yaw or a pitch that differs by 1 from the face's costs; light: of the exposure; eyes: of how far
    open they are; strangeness: what a distance of 1 from the mean of the person's faces costs; pool: of how many times
    as many good ones as may be shown those are shown that differ most.
    """

    turn: float = 0.5
    nod: float = 0.5
    light: float = 0.5
    eyes: float = 2.0
    strangeness: float = 4.0
    pool: int = 1


WEIGHTS = Weights()  # strangeness and pool chosen on validation people (benchmarks/reference_choice.py): docs/people.md


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


def choose_references(person: Identity[Any], face: Image.Image, at_most: int, landmarker: Landmarker) -> Person:
    """The person by those references that serve best for an aligned face, read; `at_most` of them, best first.

    Where there are no more than `at_most`, all in their order. One that cannot be read any more is left out, and
    another takes its place. Raises NoReferenceError if not one can be read.
    """
    candidates = list(range(len(person.references)))
    if len(candidates) > at_most:
        traits = [one.traits(landmarker) for one in person.references]
        candidates = wanted(person.embeddings, traits, traits_of(face, landmarker), at_most)
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


def wanted(
    embeddings: np.ndarray, traits: Sequence[Traits], face: Traits, at_most: int, weights: Weights = WEIGHTS
) -> list[int]:
    """Positions of all references with embeddings [N, 128], in the order in which a face wants them.

    The best first; of `weights.pool` times as many as may be shown, then those that differ most; then the others.
    """
    strange = np.linalg.norm(embeddings - embeddings.mean(0), axis=1)  # [N]
    merits = np.array([merit(one, face, weights) for one in traits]) - weights.strangeness * strange
    order = np.argsort(-merits, kind="stable")
    pool = weights.pool * at_most
    best, good, rest = order[0], order[1:pool], order[pool:]
    varied = farthest_points(embeddings[best], embeddings[good], Measure.EUCLIDEAN)
    return [int(best), *good[varied].tolist(), *rest.tolist()]


def merit(one: Traits, face: Traits, weights: Weights = WEIGHTS) -> float:
    """How well a reference serves a face, but for its strangeness; only those of one person can be compared."""
    pose = weights.turn * abs(one.yaw - face.yaw) + weights.nod * abs(one.pitch - face.pitch)
    return one.score - pose + weights.light * one.exposure + weights.eyes * min(one.eyes, OPEN)
