"""Splits share nobody, take the same share of everybody, and stay as they are when photographs are added."""

from collections import defaultdict
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from faceref.data.index import read_index
from faceref.data.splits import SPLITS, split_by_identity, write_split_lists
from faceref.errors import DataError, UsageError


def rows(sizes: list[int]) -> list[dict[str, str]]:
    """Person i has sizes[i] photographs."""
    return [{"file": f"{i}/{n}.png", "person": f"p{i}"} for i, size in enumerate(sizes) for n in range(size)]


def splits_of(done: list[dict[str, str]]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in done:
        found[row["person"]].add(row["split"])
    return found


@given(st.lists(st.integers(1, 12), min_size=1, max_size=80), st.integers(0, 2**32 - 1))
def test_everybody_is_in_one_split_and_the_shares_hold(sizes: list[int], seed: int):
    done = split_by_identity(rows(sizes), val=0.2, test=0.1, seed=seed).rows
    where = splits_of(done)
    assert all(len(splits) == 1 for splits in where.values())
    count = {split: sum(splits == {split} for splits in where.values()) for split in SPLITS}
    assert abs(count["val"] - 0.2 * len(sizes)) <= 1
    assert abs(count["test"] - 0.1 * len(sizes)) <= 1


def test_few_and_many_photographs_are_in_every_split_in_the_same_share():
    done = split_by_identity(rows([1] * 100 + [3] * 40 + [7] * 20), val=0.1, test=0.1, seed=0).rows
    sizes: dict[tuple[str, int], int] = defaultdict(int)
    for person, splits in splits_of(done).items():
        sizes[next(iter(splits)), sum(row["person"] == person for row in done)] += 1
    assert {n: sizes["test", n] for n in (1, 3, 7)} == {1: 10, 3: 4, 7: 2}
    assert {n: sizes["val", n] for n in (1, 3, 7)} == {1: 10, 3: 4, 7: 2}


def test_the_seed_decides():
    one, same, other = (split_by_identity(rows([2] * 50), val=0.2, test=0.2, seed=seed).rows for seed in (1, 1, 2))
    assert one == same != other


def test_who_has_a_split_keeps_it_unless_all_is_drawn_anew():
    before = split_by_identity(rows([2] * 30), val=0.2, test=0.2, seed=0).rows
    added = [*before, {"file": "p3/new.png", "person": "p3"}, {"file": "z.png", "person": "zoe"}]
    after = split_by_identity(added, val=0.4, test=0.4, seed=9).rows
    assert after[: len(before)] == before
    assert {row["split"] for row in after if row["person"] == "p3"} == {before[6]["split"]}
    anew = split_by_identity(before, val=0.4, test=0.4, seed=9, replace=True).rows
    assert anew != before


def test_who_was_in_two_splits_goes_to_train_and_is_named():
    mixed = [
        {"file": "a.png", "person": "ann", "split": "test"},
        {"file": "b.png", "person": "ann", "split": "val"},
        {"file": "c.png", "person": "bob", "split": "test"},
    ]
    done = split_by_identity(mixed, val=0.1, test=0.1, seed=0)
    assert [row["split"] for row in done.rows] == ["train", "train", "test"]
    assert done.moved == ["ann"]


def test_people_with_a_near_duplicate_stay_together():
    pairs = [(f"{i}/0.png", f"{i + 1}/0.png") for i in range(0, 60, 2)]
    done = split_by_identity(rows([2] * 60), val=0.3, test=0.3, seed=0, near_duplicates=pairs).rows
    split = {row["file"]: row["split"] for row in done}
    assert all(split[a] == split[b] for a, b in pairs)
    assert set(split.values()) == set(SPLITS)


def test_a_photograph_of_nobody_has_no_split(tmp_path):
    done = split_by_identity([*rows([2] * 9), {"file": "x.png", "person": ""}], val=0.3, test=0.3, seed=0).rows
    assert done[-1]["split"] == ""
    listed = [line for path in write_split_lists(tmp_path, done) for line in path.read_text().splitlines()]
    assert sorted(listed) == sorted(row["file"] for row in done[:-1])
    with pytest.raises(DataError, match="names no person"):
        split_by_identity(done[-1:], val=0.1, test=0.1, seed=0)


@pytest.mark.parametrize(
    ("val", "test", "reason"),
    [(0.5, 0.5, "leave nothing to train on"), (-0.1, 0.1, "-0.1 is no share"), (0.1, -1, "-1 is no share")],
)
def test_impossible_shares_are_refused_for_the_reason_that_they_have(val: float, test: float, reason: str):
    with pytest.raises(UsageError, match=reason):
        split_by_identity(rows([1]), val=val, test=test, seed=0)


def test_a_name_with_a_blank_is_the_same_person(tmp_path: Path):
    table = "".join(f"{n}.png,{'eva ' if n % 2 else 'eva'}\n{n}a.png, anna\n{n}b.png,anna\n" for n in range(4))
    (tmp_path / "index.csv").write_text(f"file,person\n{table}")
    done = split_by_identity(read_index(tmp_path), val=0.3, test=0.3, seed=0).rows
    assert sorted(splits_of(done)) == ["anna", "eva"]
    assert all(len(splits) == 1 for splits in splits_of(done).values())
