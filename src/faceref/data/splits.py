"""Train, validation and test by identity: nobody, and no near-duplicate, is in two of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.data.identities import NEAR_DUPLICATES
from faceref.data.table import Row, read_table
from faceref.errors import DataError, UsageError
from faceref.files import write_atomically
from faceref.people.graph import components

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitResult:
    """The rows with their splits; moved: people who were in two splits before and are all in train now."""

    rows: list[Row]
    moved: list[str]


def split_by_identity(
    rows: Sequence[Row],
    *,
    val: float,
    test: float,
    seed: int,
    near_duplicates: Sequence[tuple[str, str]] = (),
    replace: bool = False,
) -> SplitResult:
    """Fill the column split: shares `val` and `test` of the identities, the same among those with few and many faces.

    Identities of 1, 2, 3-4, 5-8, ... photographs are shuffled with `seed` and dealt out class by class. People whom
    `near_duplicates` (pairs of files) connect stay together. A split that an identity has already is kept unless
    `replace`, so that photographs added later never move a test person into training; who would be in two splits goes
    to train. Faces of nobody get no split. Raises UsageError for impossible shares, DataError if nobody has a name.
    """
    if min(val, test) < 0:
        raise UsageError("is no share of the people", subject=min(val, test), hint="give 0 or more for val and test")
    if val + test >= 1:
        reason = f"Shares of {val} for val and {test} for test leave nothing to train on"
        raise UsageError(reason, hint="give less than 1 for both")
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("person"):
            members[row["person"]].append(row)
    if not members:
        raise DataError("The index names no person", hint="find out who is who first", code="no_identities")
    units = _units(members, near_duplicates)
    assigned: dict[str, str] = {}
    moved = []
    new: dict[int, list[list[str]]] = defaultdict(list)
    for unit in units:
        before = {row.get("split", "") for person in unit for row in members[person]} - {""}
        if replace or not before:
            new[(sum(len(members[person]) for person in unit) - 1).bit_length()].append(unit)
            continue
        if len(before) > 1:
            moved += unit
        (split,) = before if len(before) == 1 else ("train",)
        assigned |= dict.fromkeys(unit, split)
    rng = np.random.default_rng(seed)
    due = np.zeros(2)  # fractions of identities that val and test are owed by the classes so far
    for size in sorted(new):
        order = [new[size][i] for i in rng.permutation(len(new[size]))]
        due += np.array([val, test]) * len(order)
        for_val, for_test = np.minimum(np.floor(due + 0.5), len(order)).astype(int).tolist()
        for_test = min(for_test, len(order) - for_val)
        due -= (for_val, for_test)
        for place, unit in enumerate(order):
            split = "val" if place < for_val else "test" if place < for_val + for_test else "train"
            assigned |= dict.fromkeys(unit, split)
    return SplitResult([{**row, "split": assigned.get(row.get("person", ""), "")} for row in rows], sorted(moved))


def read_near_duplicates(folder: Path) -> list[tuple[str, str]] | None:
    """The pairs that `identities` has written; None if it has not been run."""
    path = folder / NEAR_DUPLICATES
    return [(row["first"], row["second"]) for row in read_table(path, ("first", "second"))] if path.exists() else None


def write_split_lists(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write FOLDER/id_based_split/{train,val,test}_image.txt in the form of FFHQ-Ref's: a file name a line."""
    written = []
    for split in SPLITS:
        path = folder / "id_based_split" / f"{split}_image.txt"
        with write_atomically(path) as temporary:
            temporary.write_text("".join(f"{row['file']}\n" for row in rows if row["split"] == split), encoding="utf-8")
        written.append(path)
    return written


def _units(members: dict[str, list[Row]], near_duplicates: Sequence[tuple[str, str]]) -> list[list[str]]:
    """People who must be in one split together, in the order of their names."""
    people = sorted(members)
    number = {person: i for i, person in enumerate(people)}
    person_of = {row["file"]: number[person] for person, rows in members.items() for row in rows}
    edges = np.array([(person_of[a], person_of[b]) for a, b in near_duplicates if a in person_of and b in person_of])
    labels = components(len(people), *edges.reshape(-1, 2).T)
    units: dict[int, list[str]] = defaultdict(list)
    for person, label in zip(people, labels.tolist(), strict=True):
        units[label].append(person)
    return list(units.values())
