"""Which photographs of a person are shown as references of another one: the rules of FFHQ-Ref."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.data.embedding import Embeddings
from faceref.data.lq_set import lq_name
from faceref.data.mapping import ReferenceEntry, ReferenceMapping
from faceref.data.table import Row, write_table
from faceref.errors import UsageError
from faceref.files import write_atomically
from faceref.people.choice import farthest_points
from faceref.people.measure import Measure

FOLDER = "reference_mapping"  # below the folder of the index: {split}_references.csv, left_out.csv


@dataclass(frozen=True)
class ReferenceRules:
    """Distances in the embeddings' measure, minimum <= distance < maximum; how many references a target must have."""

    minimum: float
    maximum: float
    at_least: int = 1
    at_most: int = 9

    def check(self) -> None:
        """Raises UsageError for rules that no reference can satisfy."""
        if self.minimum >= self.maximum:
            reason = f"No distance is {self.minimum:g} or more and below {self.maximum:g}"
            raise UsageError(reason, hint="give a minimum below the maximum", code="no_distance")
        if self.at_least > self.at_most:
            reason = f"No target has {self.at_least} references or more and at most {self.at_most}"
            raise UsageError(reason, hint="ask for as many as it may have, or fewer", code="no_number")


@dataclass(frozen=True)
class ChosenReferences:
    """The mapping of one split, and (file, reason) of the photographs that are no target."""

    mapping: ReferenceMapping
    left_out: list[tuple[str, str]]


def choose_references(
    rows: Sequence[Row], split: str, embeddings: Embeddings, measure: Measure, rules: ReferenceRules
) -> ChosenReferences:
    """References of each photograph of a split: other photographs of its person there (Section 4.1 of ReF-LDM).

    They are ordered by farthest point sampling that starts at the target. Targets of val and test name their LQ picture
    as an LQ set does.
    """
    vectors = dict(zip(embeddings.files, embeddings.vectors, strict=True))
    unreadable = dict(embeddings.unreadable)
    people: dict[str, list[str]] = defaultdict(list)
    in_split = [row for row in rows if row.get("split") == split]
    for row in in_split:
        if row.get("person") and row["file"] in vectors:
            people[row["person"]].append(row["file"])
    entries, left_out = [], []
    for row in in_split:
        file, person = row["file"], row.get("person", "")
        if file not in vectors:
            left_out.append((file, unreadable.get(file, "it has no embedding")))
        elif not person:
            left_out.append((file, "nobody has said who it is"))
        elif len(people[person]) == 1:
            left_out.append((file, f"it is the only photograph of {person}"))
        else:
            others = [other for other in people[person] if other != file]
            order = farthest_points(
                vectors[file],
                np.stack([vectors[name] for name in others]),
                measure,
                minimum=rules.minimum,
                maximum=rules.maximum,
                at_most=rules.at_most,
            )
            if len(order) < rules.at_least:
                kept = f"{len(order)} of {len(others)} other photographs of {person} are"
                reason = f"{kept} within {rules.minimum:g}..{rules.maximum:g} of it, {rules.at_least} are needed"
                left_out.append((file, reason))
                continue
            lq_image = None if split == "train" else lq_name(file)
            entries.append(ReferenceEntry(file, tuple(others[i] for i in order), lq_image))
    return ChosenReferences(ReferenceMapping(tuple(entries)), left_out)


def write_mapping(folder: Path, split: str, mapping: ReferenceMapping) -> Path:
    """Write FOLDER/reference_mapping/{split}_references.csv, whole or not at all."""
    path = _path(folder, split)
    with write_atomically(path) as temporary:
        mapping.write(temporary)
    return path


def remove_mapping(folder: Path, split: str) -> None:
    """Remove what `write_mapping` wrote of a split that nobody is in any more: who was may be in another."""
    _path(folder, split).unlink(missing_ok=True)


def _path(folder: Path, split: str) -> Path:
    return folder / FOLDER / f"{split}_references.csv"


def write_left_out(folder: Path, left_out: dict[str, list[tuple[str, str]]]) -> Path:
    """Write FOLDER/reference_mapping/left_out.csv: split, file, reason."""
    path = folder / FOLDER / "left_out.csv"
    rows = [{"split": s, "file": file, "reason": why} for s, items in left_out.items() for file, why in items]
    write_table(path, ("split", "file", "reason"), rows)
    return path
