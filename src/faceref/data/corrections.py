"""What a person said after looking at the contact sheets: corrections.csv, applied on every run of `identities`."""

from dataclasses import dataclass
from pathlib import Path

from faceref.data.table import read_table, write_table
from faceref.errors import DataError

CORRECTIONS = "corrections.csv"
COLUMNS = ("what", "first", "second")


@dataclass(frozen=True)
class Corrections:
    """Pairs of files that show the same person, pairs that do not, and files that are to be left out."""

    same: tuple[tuple[str, str], ...] = ()
    different: tuple[tuple[str, str], ...] = ()
    exclude: frozenset[str] = frozenset()


def read_corrections(folder: Path, files: set[str]) -> Corrections:
    """Read FOLDER/corrections.csv, with lines `same,A,B`, `different,A,B`, `exclude,A`; an empty one is made if absent.

    files: those of the index. Raises DataError naming the line that is not one of these or names another file.
    """
    path = folder / CORRECTIONS
    if not path.exists():
        write_table(path, COLUMNS, [])
    same, different, exclude = [], [], set()
    for line, row in enumerate(read_table(path, COLUMNS), start=2):
        what, first, second = (row[column].strip() for column in COLUMNS)
        named = [first] if what == "exclude" else [first, second]
        if what not in ("same", "different", "exclude") or (what == "exclude" and second) or first == second:
            reason = "write same,A,B or different,A,B or exclude,A with two files A and B"
            raise DataError(reason, subject=f"{path}, line {line}:")
        for file in named:
            if file not in files:
                reason, hint = f"{file!r} is not in the index", "take the line out or correct it"
                raise DataError(reason, subject=f"{path}, line {line}:", hint=hint)
        if what == "exclude":
            exclude.add(first)
        else:
            (same if what == "same" else different).append((first, second))
    return Corrections(tuple(same), tuple(different), frozenset(exclude))
