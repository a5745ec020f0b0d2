"""CSV tables: read with the columns that are needed, written whole or not at all."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from faceref.errors import DataError
from faceref.files import write_atomically

Row = dict[str, str]
NAMES = ("person", "split")  # columns in which equal names are the same, whoever typed them
NO_TEXT = "its name is no text in UTF-8; rename it"


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a CSV that must have these columns, and something in the first of them. Raises DataError.

    Without the blanks around names of people and splits that a hand leaves: "anna " is anna.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark in front
            reader = csv.DictReader(file, restval="")  # of a line that is shorter than the others
            header = reader.fieldnames or ()
            rows = [_trimmed(row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = f"cannot be read as a CSV table ({error})"
        raise DataError(reason, subject=path, hint="give the path of one") from error
    missing = [column for column in columns if column not in header]
    if missing:
        separated = ", separated by commas" if any(";" in column or "\t" in column for column in header) else ""
        hint = f"it needs {', '.join(columns)}{separated}"
        raise DataError(f"lacks the column {missing[0]!r}", subject=path, hint=hint)
    for line, row in enumerate(rows, start=2):
        if not row[columns[0]]:
            raise DataError(
                f"there is nothing in the column {columns[0]!r}",
                subject=f"{path}, line {line}:",
                hint="take the line out",
            )
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a CSV table, whole or not at all. Raises OutputError."""
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _trimmed(row: Row) -> Row:
    return row | {column: row[column].strip() for column in NAMES if row.get(column)}


def leads_out(name: str) -> bool:
    """Whether a file's name leads out of the folder that it is relative to, where what is written by it would lie."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def is_text(name: str) -> bool:
    """Whether a table can hold a file's name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
