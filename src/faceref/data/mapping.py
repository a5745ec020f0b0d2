"""The reference mapping: which photographs show the same person as a given one."""

import ast
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceref.data.table import read_table
from faceref.errors import DataError


@dataclass(frozen=True)
class ReferenceEntry:
    """One target photograph, the references for it (possibly none), and its low-quality version in test mappings."""

    gt_image: str
    ref_images: tuple[str, ...]
    lq_image: str | None = None


@dataclass(frozen=True)
class ReferenceMapping:
    """Targets and their references, in order; names are relative to the folder of photographs.

    On disk it is a CSV in the format of FFHQ-Ref's released files (reference_mapping/*.csv): gt_image, ref_image (a
    Python-style list of file names) and, where any entry has one, lq_image. Targets alone may come from a list of file
    names, one a line (id_based_ffhq_split/*.txt).
    """

    entries: tuple[ReferenceEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ReferenceEntry]:
        return iter(self.entries)

    @classmethod
    def read(cls, path: Path) -> "ReferenceMapping":
        """Read a .csv, or a .txt of targets without references. Other columns of the CSV are passed over.

        Raises DataError if the file is missing or empty, lacks a column, or a list of references is not one.
        """
        if path.suffix.lower() == ".txt":
            return cls(tuple(ReferenceEntry(name, ()) for name in _read_list(path)))
        rows = read_table(path, ("gt_image", "ref_image"))
        entries = []
        for line, row in enumerate(rows, start=2):
            try:
                references = ast.literal_eval(row["ref_image"])
            except (ValueError, SyntaxError):
                references = None
            if not isinstance(references, list) or not all(isinstance(n, str) and n for n in references):
                raise DataError(
                    f"ref_image must be a list of file names like ['a.png', 'b.png'], not {row['ref_image']!r}",
                    subject=f"{path}, line {line}:",
                )
            entries.append(ReferenceEntry(row["gt_image"], tuple(references), row.get("lq_image") or None))
        return cls(tuple(entries))

    def write(self, path: Path) -> None:
        """Write the CSV; `read` gives back the same mapping."""
        with_lq = any(entry.lq_image for entry in self.entries)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["gt_image", "ref_image"] + ["lq_image"] * with_lq)
            for entry in self.entries:
                lq_image = [entry.lq_image or ""] * with_lq
                writer.writerow([entry.gt_image, str(list(entry.ref_images)), *lq_image])


def mapping_from_index(index: Path, split: str) -> ReferenceMapping:
    """All photographs of a split; the references of each are the other photographs of that person in the split.

    Photographs without a person (nobody has said who it is) have no references. index: CSV with the columns file,
    person, split. Raises DataError if a column is missing, the split is empty, or lists a file twice.
    """
    rows = [row for row in read_table(index, ("file", "person", "split")) if row["split"] == split]
    if not rows:
        raise DataError(
            f"holds no photograph of the split {split!r}", subject=index, hint="check the name of the split"
        )
    times = Counter(row["file"] for row in rows)
    if twice := next((file for file in times if times[file] > 1), None):
        raise DataError(f"lists {twice} twice", subject=index, hint="take one of the lines out")
    photographs = defaultdict(list)
    for row in rows:
        photographs[row["person"]].append(row["file"])
    return ReferenceMapping(
        tuple(
            ReferenceEntry(
                row["file"],
                tuple(name for name in photographs[row["person"]] if name != row["file"]) if row["person"] else (),
            )
            for row in rows
        )
    )


def _read_list(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot be read as a list of file names ({error})"
        raise DataError(reason, subject=path, hint="give the path of one") from error
    if not names:
        raise DataError("lists no file", subject=path, hint="give a list of file names, one a line")
    return names
