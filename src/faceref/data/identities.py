"""Who is who among aligned faces: close pairs, their components, suspicious bridges cut, corrections applied."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.data.corrections import CORRECTIONS, Corrections
from faceref.data.embedding import Embeddings
from faceref.data.embedding_space import EmbeddingSpace
from faceref.data.table import Row, read_table, write_table
from faceref.errors import DataError
from faceref.people.graph import Pairs, close_pairs, components
from faceref.people.grouping import average_linkage

FOLDER = "identities"  # below the folder of the index: what was found, to be looked at
BRIDGES = f"{FOLDER}/bridges.csv"
NEAR_DUPLICATES = f"{FOLDER}/near_duplicates.csv"
PERSONS = f"{FOLDER}/persons.csv"
SHEETS = f"{FOLDER}/sheets"


@dataclass(frozen=True)
class Bridge:
    """Two groups of files that close pairs join but that are not close on the average, or that a correction parts."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    why: str  # "not close on the average" or "correction"

    @property
    def suspicious(self) -> bool:
        """Whether two groups may be one person, or two who look alike: to be looked at until a correction says so."""
        return min(len(self.left), len(self.right)) > 1 and self.why != "correction"


@dataclass(frozen=True, eq=False)
class Identities:
    """labels int [N]: the identity of each of `files`; near_duplicates: (file, file, distance), nearest first."""

    files: tuple[str, ...]
    labels: np.ndarray
    bridges: tuple[Bridge, ...]
    near_duplicates: tuple[tuple[str, str, float], ...]

    def groups(self) -> list[list[str]]:
        """The files of every identity in the order of `files`; identities in that of their first files."""
        found: dict[int, list[str]] = defaultdict(list)
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            found[label].append(file)
        return list(found.values())

    def persons(self) -> dict[str, str]:
        """file -> person, named by the first file of the identity: faces that are added behind it rename nobody."""
        stems = defaultdict(list)
        groups = self.groups()
        for group in groups:
            stems[Path(group[0]).with_suffix("").as_posix()].append(group)
        return {
            file: stem if len(same_stem) == 1 else group[0]
            for stem, same_stem in stems.items()
            for group in same_stem
            for file in group
        }


def identify(
    embeddings: Embeddings, space: EmbeddingSpace, threshold: float, corrections: Corrections | None = None
) -> Identities:
    """Who is one person: groups of faces that are closer than `threshold` (in the space's measure) on the average.

    Section 4.1 of ReF-LDM takes the connected components of the close pairs as they are, and looks at them by eye. Here
    a component that close pairs chain together without being one group is taken apart, and the pairs are named.
    Raises DataError for corrections that contradict each other or leave nobody.
    """
    corrections = corrections or Corrections()
    chosen = [i for i, file in enumerate(embeddings.files) if file not in corrections.exclude]
    if not chosen:
        raise DataError("excludes every face that can be read", subject=CORRECTIONS, hint="take lines out")
    files, vectors = tuple(embeddings.files[i] for i in chosen), embeddings.vectors[chosen]
    close = close_pairs(vectors, space.measure.radius(max(threshold, space.near_duplicate)))
    near_duplicates = tuple(_near_duplicates(list(files), close, space))
    close = close.within(space.measure.radius(threshold))
    position = {file: i for i, file in enumerate(files)}
    same, different = (
        [(position[a], position[b]) for a, b in lines if a in position and b in position]
        for lines in (corrections.same, corrections.different)
    )
    labels = average_linkage(vectors, close, space.measure, threshold, different)
    if same:
        labels = components(int(labels.max()) + 1, *labels[np.array(same)].T)[labels]
    for a, b in different:
        if labels[a] == labels[b]:
            raise DataError(
                f"says that {files[a]} and {files[b]} are different people and, by its other lines, the same",
                subject=CORRECTIONS,
                hint="take one of the lines out",
            )
    return Identities(files, labels, tuple(_bridges(files, labels, close, different)), near_duplicates)


def find_near_duplicates(embeddings: Embeddings, space: EmbeddingSpace) -> list[tuple[str, str, float]]:
    """Pairs of files that are almost one photograph, and their distance, nearest first."""
    pairs = close_pairs(embeddings.vectors, space.measure.radius(space.near_duplicate))
    return _near_duplicates(embeddings.files, pairs, space)


def _near_duplicates(files: list[str], pairs: Pairs, space: EmbeddingSpace) -> list[tuple[str, str, float]]:
    """Those among `pairs`, nearest first."""
    near = pairs.within(space.measure.radius(space.near_duplicate))
    near = near.where(np.argsort(near.squared, kind="stable"))
    distances = space.measure.distances(near.squared).tolist()
    found = zip(near.first.tolist(), near.second.tolist(), distances, strict=True)
    return [(files[a], files[b], distance) for a, b, distance in found]


def _bridges(
    files: tuple[str, ...], labels: np.ndarray, close: Pairs, different: Sequence[tuple[int, int]]
) -> list[Bridge]:
    """Identities that close pairs join, those with the most such pairs first."""
    members: dict[int, list[str]] = defaultdict(list)
    for file, label in zip(files, labels.tolist(), strict=True):
        members[label].append(file)
    crossing = close.where(labels[close.first] != labels[close.second])
    joined: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    for a, b in zip(crossing.first.tolist(), crossing.second.tolist(), strict=True):
        between = int(min(labels[a], labels[b])), int(max(labels[a], labels[b]))
        joined[between].append((files[a], files[b]))
    said = {(min(labels[a], labels[b]), max(labels[a], labels[b])) for a, b in different}
    bridges = [
        Bridge(
            tuple(members[left]),
            tuple(members[right]),
            tuple(pairs),
            "correction" if (left, right) in said else "not close on the average",
        )
        for (left, right), pairs in joined.items()
    ]
    return sorted(bridges, key=lambda bridge: (-len(bridge.pairs), bridge.left))


def write_persons(folder: Path, persons: dict[str, str]) -> None:
    """Write FOLDER/identities/persons.csv: the names that went into the index, for `named_by_others`."""
    rows = [{"file": file, "person": person} for file, person in persons.items()]
    write_table(folder / PERSONS, ("file", "person"), rows)


def write_findings(folder: Path, identities: Identities) -> None:
    """Write bridges.csv and near_duplicates.csv into FOLDER/identities/; contact sheets of earlier findings go."""
    shutil.rmtree(folder / SHEETS, ignore_errors=True)
    bridges = [
        {"bridge": str(number), "why": bridge.why, "left": str(list(bridge.left)), "right": str(list(bridge.right)),
         "pairs": str([list(pair) for pair in bridge.pairs])}
        for number, bridge in enumerate(identities.bridges, start=1)
    ]  # fmt: skip
    write_table(folder / BRIDGES, ("bridge", "why", "left", "right", "pairs"), bridges)
    near = [{"first": a, "second": b, "distance": f"{d:.4f}"} for a, b, d in identities.near_duplicates]
    write_table(folder / NEAR_DUPLICATES, ("first", "second", "distance"), near)


def named_by_others(folder: Path, rows: Sequence[Row]) -> list[str]:
    """People in the index whom no earlier run of `identities` has named: they came from folders, or by hand."""
    path = folder / PERSONS
    ours = {row["file"]: row["person"] for row in read_table(path, ("file", "person"))} if path.exists() else {}
    return [row["person"] for row in rows if row.get("person") and ours.get(row["file"]) != row["person"]]


def with_persons(rows: Sequence[Row], persons: dict[str, str]) -> list[Row]:
    """The rows of an index with the column person filled anew; nobody where a face was excluded or is unreadable."""
    return [{**row, "person": persons.get(row["file"], "")} for row in rows]
