"""Samples made many at a time: each is visited as often as asked, and a batch depends on its step alone."""

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError

from faceref.training.config import LoopConfig
from faceref.training.pool import Pool, Samples

POOL = {"samples": 12, "at_once": 6, "visits": 3}
STEPS = 9  # of a pool: 12 samples, four at a time, three times


def loop(**settings) -> LoopConfig:
    return LoopConfig.model_validate({"steps": 1, "batch_size": 4, "pool": POOL} | settings)


def fill(number: int) -> Iterator[Samples]:
    """Samples that say which they are: 0 to 11 in the first pool, then 12 to 23."""
    for part in range(2):
        names = 12 * number + 6 * part + torch.arange(6)
        yield {"name": names, "picture": names[:, None, None] * torch.ones(1, 2, 2)}


def names(pool: Pool, steps: range) -> list[list[int]]:
    return [pool.batch(step)["name"].tolist() for step in steps]


def test_each_sample_is_visited_as_often_as_asked_before_the_next_pool():
    pool = Pool(loop(), fill)
    for number in range(2):
        for visit in range(3):
            first = STEPS * number + 3 * visit
            seen = [name for batch in names(pool, range(first, first + 3)) for name in batch]
            assert sorted(seen) == list(range(12 * number, 12 * number + 12))


def test_each_visit_is_in_other_company():
    batches = [frozenset(name % 12 for name in batch) for batch in names(Pool(loop(), fill), range(2 * STEPS))]
    visits = [frozenset(batches[i : i + 3]) for i in range(0, 2 * STEPS, 3)]
    assert visits[0] == visits[3], "the first of each pool is in the order of making"
    assert len(set(visits)) == 5


def test_what_belongs_to_a_sample_stays_with_it():
    batch = Pool(loop(), fill).batch(4)
    assert batch["picture"].shape == (4, 2, 2)
    assert torch.equal(batch["picture"][:, 0, 0], batch["name"].float())


def test_a_batch_is_a_function_of_its_step_alone():
    straight = names(Pool(loop(), fill), range(2 * STEPS))
    for start in (1, 5, STEPS, STEPS + 4):
        assert names(Pool(loop(), fill), range(start, 2 * STEPS)) == straight[start:]
    assert names(Pool(loop(seed=1), fill), range(STEPS)) != straight[:STEPS]


def test_a_pool_is_made_once_and_not_before_it_is_needed():
    made = []

    def fill_and_tell(number: int) -> Iterator[Samples]:
        made.append(number)
        return fill(number)

    pool = Pool(loop(), fill_and_tell)
    assert made == []
    names(pool, range(STEPS))
    assert made == [0]
    names(pool, range(STEPS, STEPS + 1))
    assert made == [0, 1]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"accumulate": 2}, "goes with accumulate: 1"),
        ({"batch_size": 5}, "holds whole batches"),
        ({"batch_size": 24}, "holds whole batches"),
        ({"pool": POOL | {"at_once": 5}}, "a multiple of at_once"),
        ({"pool": POOL | {"visits": 0}}, "visits"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, complaint: str):
    with pytest.raises(ValidationError, match=complaint):
        loop(**settings)
