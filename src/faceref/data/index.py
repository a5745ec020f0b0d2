"""index.csv, the table beside aligned faces: one row a face, which every step of building a data set fills further.

`align` writes file, source and the measurements, `identities` the person, `splits` the split; training and evaluation
read it as it is. Columns that nobody here knows are kept.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from faceref.data.references import read_table
from faceref.errors import DataError
from faceref.files import write_atomically

Row = dict[str, str]

INDEX = "index.csv"
COLUMNS = (
    "file",  # relative to the folder of the index
    "person",  # empty while nobody knows
    "split",
    "ffhq_side_px",  # side of the aligned square in pixels of the photograph: below the face's size, it was enlarged
    "eyes_px",  # distance between the eyes in pixels of the photograph
    "outside",  # share of the square that lies outside of the photograph
    "sharpness",  # variance of the Laplacian in the face at 128 px
    "yaw",  # 0 frontal, towards 1 a profile
    "colourfulness",  # Hasler and Suesstrunk 2003; 0 is grey
    "source",  # the photograph, relative to the folder that was aligned
)


def read_index(folder: Path) -> list[Row]:
    """The rows of FOLDER/index.csv. Raises DataError if there is none, it is empty, or it lists a file twice."""
    path = folder / INDEX
    if not path.exists():
        raise DataError(
            f"{folder} has no {INDEX}; make it with faceref data align, or with the columns file and person."
        )
    rows = [{key: value or "" for key, value in row.items() if key} for row in read_table(path, ("file",))]
    if not rows:
        raise DataError(f"{path} lists no photograph; align some first (faceref data align).")
    seen: set[str] = set()
    for row in rows:
        if row["file"] in seen:
            raise DataError(f"{path} lists {row['file']} twice; take one of the lines out.")
        seen.add(row["file"])
    return rows


def write_index(folder: Path, rows: Sequence[Row]) -> None:
    """Write FOLDER/index.csv, whole or not at all: our columns first, then those that somebody else has added."""
    known = [column for column in COLUMNS if any(column in row for row in rows)]
    others = list(dict.fromkeys(column for row in rows for column in row if column not in COLUMNS))
    write_table(folder / INDEX, (*known, *others), rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a CSV table, whole or not at all. Raises OutputError."""
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
