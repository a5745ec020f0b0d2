"""Whether a data set is what it should be: files that decode, splits that share nobody, targets that see others."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.data.index import INDEX, read_index
from faceref.data.mapping import ReferenceMapping
from faceref.data.reference_rules import FOLDER as MAPPINGS
from faceref.data.splits import SPLITS
from faceref.data.table import Row
from faceref.errors import DataError
from faceref.jobs import OnItem
from faceref.people.graph import components
from faceref.pictures.aligned import FileState, inspect_face


@dataclass(frozen=True)
class Problem:
    """Something wrong with the file `name` (or the person, or the pair)."""

    name: str
    what: str


@dataclass(frozen=True)
class Statistics:
    """As Fig. 8 of ReF-LDM: split -> how many identities have n photographs, how many targets have n references."""

    photographs: dict[str, Counter[int]]
    references: dict[str, Counter[int]]
    nobody: int  # photographs of which no person is known


def read_set(folder: Path, mappings: Sequence[Path] | None) -> "DataSet":
    """FOLDER's index, if there is one, and the mappings given, else those in FOLDER/reference_mapping/.

    Raises DataError if there is neither, or if two mappings have one name.
    """
    found = sorted((folder / MAPPINGS).glob("*_references.csv")) if mappings is None else list(mappings)
    if not found and not (folder / INDEX).exists():
        raise DataError(
            f"has neither an {INDEX} nor mappings", subject=folder, hint="give some mappings", code="nothing_to_check"
        )
    by_split: dict[str, ReferenceMapping] = {}
    for path in found:
        split = path.stem.removesuffix("_references").removesuffix("_image")
        if split in by_split:
            reason = f"Two mappings are of {split!r} by their names ({path} is one)"
            raise DataError(reason, hint="check them one by one")
        by_split[split] = ReferenceMapping.read(path)
    return DataSet(read_index(folder) if (folder / INDEX).exists() else [], by_split)


class DataSet:
    """What is known of a set: the rows of its index, if it has one, and its mappings by name of their split.

    The split of a file is what the index says, else the name of the mapping that lists it. People are those of the
    index, and files that a mapping gives as references of each other show one person.
    """

    def __init__(self, rows: Sequence[Row], mappings: dict[str, ReferenceMapping]) -> None:
        """Raises DataError if there is nothing in it."""
        self.mappings = mappings
        self.person = {row["file"]: row.get("person", "") for row in rows}
        self.in_index = {row["file"]: row.get("split", "") for row in rows}
        self.splits: dict[str, set[str]] = {file: {split} - {""} for file, split in self.in_index.items()}
        for split, mapping in mappings.items():
            for entry in mapping:
                for file in (entry.gt_image, *entry.ref_images):
                    self.splits.setdefault(file, set())
                    if not self.in_index.get(file):
                        self.splits[file].add(split)
        if not self.splits:
            raise DataError("There is nothing to check: the index and the mappings are empty")
        self.files = list(self.splits)
        self.identities = self._identities()

    def _identities(self) -> list[list[str]]:
        """The files of everybody; a photograph of nobody is an identity of its own."""
        number = {file: i for i, file in enumerate(self.files)}
        first_of: dict[str, str] = {}
        edges = [
            (number[first_of.setdefault(person, file)], number[file]) for file, person in self.person.items() if person
        ]
        for mapping in self.mappings.values():
            edges += [(number[entry.gt_image], number[ref]) for entry in mapping for ref in entry.ref_images]
        labels = components(len(self.files), *np.array(edges, dtype=int).reshape(-1, 2).T)
        members: dict[int, list[str]] = defaultdict(list)
        for file, label in zip(self.files, labels.tolist(), strict=True):
            members[label].append(file)
        return list(members.values())

    def problems(
        self, states: dict[str, FileState], near_duplicates: Sequence[tuple[str, str, float]]
    ) -> list[Problem]:
        """Everything that is wrong, by name. states: of every file; near_duplicates: pairs with their distance."""
        found = [Problem(file, states[file].problem) for file in self.files if states[file].problem]
        found += self._same_names()
        found += self._copies(states)
        for files in self.identities:
            if len(set().union(*(self.splits[file] for file in files))) > 1:
                where = {split: file for file in files for split in self.splits[file]}
                who = self.person.get(files[0]) or f"the person of {files[0]}"
                found.append(Problem(who, "is in " + " and ".join(f"{s} ({f})" for s, f in sorted(where.items()))))
        for a, b, distance in near_duplicates:
            splits = self.splits[a] | self.splits[b]
            if len(splits) > 1 and self.splits[a] != self.splits[b]:
                between = " and ".join(sorted(splits))
                found.append(Problem(f"{a}, {b}", f"nearly the same photograph (distance {distance:.3f}) in {between}"))
        for split, mapping in self.mappings.items():
            found += self._mapping_problems(split, mapping, states)
        return found

    def statistics(self) -> Statistics:
        """The histograms; an identity counts in each split it is in, and in "" if it has none."""
        photographs: dict[str, Counter[int]] = defaultdict(Counter)
        nobody = 0
        for files in self.identities:
            if len(files) == 1 and files[0] in self.person and not self.person[files[0]]:
                nobody += 1
                continue
            for split in set().union(*(self.splits[file] for file in files)) or {""}:
                photographs[split][sum(split in (self.splits[file] or {""}) for file in files)] += 1
        references = {split: Counter(len(e.ref_images) for e in mapping) for split, mapping in self.mappings.items()}
        return Statistics(dict(photographs), references, nobody)

    def _same_names(self) -> Iterator[Problem]:
        """Restorations and LQ pictures are named by the file without its suffix."""
        first: dict[str, str] = {}
        for file in self.files:
            other = first.setdefault(Path(file).with_suffix("").as_posix(), file)
            if other != file:
                yield Problem(file, f"has the same name as {other} but for the suffix; rename one of them")

    def _copies(self, states: dict[str, FileState]) -> Iterator[Problem]:
        """Two files with the same bytes of one person in one split of the index."""
        first: dict[tuple[str, str, str], str] = {}
        for file, person in self.person.items():
            if person and states[file].digest:
                other = first.setdefault((person, self.in_index[file], states[file].digest), file)
                if other != file:
                    yield Problem(file, f"is a copy of {other}, and no reference of it; take one of them out")

    def _mapping_problems(
        self, split: str, mapping: ReferenceMapping, states: dict[str, FileState]
    ) -> Iterator[Problem]:
        named = dict.fromkeys(file for entry in mapping for file in (entry.gt_image, *entry.ref_images))
        others = [file for file in named if self.in_index.get(file, "") not in ("", split)]
        if others and (split in SPLITS or split in self.in_index.values()):
            where = f"{others[0]} is in {self.in_index[others[0]]}"
            yield Problem(f"the mapping of {split}", f"names {len(others)} files of other splits of the index: {where}")
        listed = Counter(entry.gt_image for entry in mapping)
        for file, times in listed.items():
            if times > 1:
                yield Problem(file, f"is a target {times} times in the mapping of {split}")
        for entry in mapping:
            target = entry.gt_image
            for reference, times in Counter(entry.ref_images).items():
                digest = states[reference].digest
                if reference == target:
                    yield Problem(target, f"is its own reference in the mapping of {split}")
                elif digest and digest == states[target].digest:
                    yield Problem(
                        target, f"is its own reference in the mapping of {split}: {reference} is a copy of it"
                    )
                if times > 1:
                    yield Problem(target, f"has the reference {reference} {times} times in the mapping of {split}")
                people = {self.person.get(target), self.person.get(reference)} - {None, ""}
                if len(people) > 1:
                    yield Problem(target, f"has a reference of somebody else, {reference}, in the mapping of {split}")


def inspect_files(folder: Path, files: Sequence[str], on_file: OnItem = lambda *_: None) -> dict[str, FileState]:
    """Read and decode every file. on_file: told how far it is."""
    states: dict[str, FileState] = {}
    with ThreadPoolExecutor() as pool:
        for state in pool.map(lambda file: inspect_face(folder / file), files):
            states[files[len(states)]] = state
            on_file(len(states), len(files))
    return states
