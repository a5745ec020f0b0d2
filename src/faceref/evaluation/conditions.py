"""What is asked of the models: under which conditions they restore, and on which sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Condition:
    """One way to restore: `count` references at most are shown, of the person, of a wrong one, or as zeros."""

    key: str
    title: str
    count: int = 0
    wrong_person: bool = False
    zero: bool = False
    product: bool = False  # through all that a user's photograph goes through, not the pipeline alone

    @property
    def own(self) -> bool:
        """References of the person are shown to the pipeline alone."""
        return self.count > 0 and not self.wrong_person and not self.zero and not self.product


Conditions = Mapping[str, tuple[Condition, ...]]  # of every model, by its label

NO_REFERENCES = Condition("none", "no references")
STAGE_1 = Condition("stage-1", "stage 1 alone")
BLIND_CONDITIONS = (NO_REFERENCES, STAGE_1)
ELSEWHERE = Condition(NO_REFERENCES.key, "restored elsewhere")  # with or without references: nobody here knows


@dataclass(frozen=True)
class Plan:
    """What to measure. sets: presets of degradation, or of stored LQ pictures; most, counts: references shown."""

    sets: tuple[str, ...]
    most: int
    counts: tuple[int, ...]
    seed: int
    batch_size: int
    wrong_person: bool = True  # needs a second identity
    product: bool = False


def reference_conditions(plan: Plan) -> tuple[Condition, ...]:
    """Those of a model that takes references: none, zeros, the person's in growing number, somebody else's."""
    n = plan.most
    if not n:
        return (NO_REFERENCES,)
    counts = sorted({count for count in plan.counts if 0 < count < n} | {n})
    conditions = [NO_REFERENCES, Condition("zero", f"{n} zero references", n, zero=True)]
    conditions += [Condition(f"refs-{c}", f"{c} reference{'s' * (c > 1)}", c) for c in counts]
    if plan.wrong_person:
        conditions.append(Condition(f"wrong-{n}", f"{n} references of a wrong person", n, wrong_person=True))
    return tuple(conditions)


def best(conditions: Sequence[Condition]) -> Condition:
    """The condition that a model is judged by: the most references of the person, or none if it is shown none."""
    return max((c for c in conditions if c.own), key=lambda c: c.count, default=NO_REFERENCES)


def product_condition(conditions: Sequence[Condition]) -> Condition:
    """The product's: with the references that the model is judged by."""
    bare = best(conditions)
    return replace(bare, key="product", title=f"the product, {bare.title}", product=True)


def with_product(conditions: tuple[Condition, ...], plan: Plan) -> tuple[Condition, ...]:
    """A model's conditions and, if the plan has it, the product's."""
    return (*conditions, product_condition(conditions)) if plan.product else conditions
