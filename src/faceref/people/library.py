"""People kept for next time: a database that only its owner can read.

All of a person lies in one SQLite file, faces included, so that a change is there as a whole or not at all, also after
kill -9. What a model computes of a person is derived and is not kept.
"""

import io
import sqlite3
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from PIL import Image

from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.faces.recognise import EMBEDDING
from faceref.files import check_writable, write_atomically
from faceref.people.database import Database, Tables, check_version, connect, make, readable
from faceref.people.person import FACE_SIZE, NAMELESS, Person, Reference, compared, same_name

FILE = "people.sqlite"
LONGEST_NAME = 100  # characters
TABLES = Tables(
    what="people",
    version=1,
    statements="""
CREATE TABLE person (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, enrolled TEXT NOT NULL
) STRICT;
CREATE TABLE reference (
    person INTEGER NOT NULL REFERENCES person ON DELETE CASCADE, digest TEXT NOT NULL, name TEXT NOT NULL,
    face BLOB NOT NULL, embedding BLOB NOT NULL, PRIMARY KEY (person, digest)
) STRICT;
""",
    remedy="use the version that wrote it, or enroll the people anew",
    code="people_version",
)


@dataclass(frozen=True)
class Enrolled:
    """A line of the list: who, with how many references, since when (ISO 8601, UTC)."""

    name: str
    references: int
    enrolled: str


class Library:
    """The people of a folder, by name; letters may be large or small. Threads and processes may share it."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """folder: by default the one that the system has for a user's data of faceref."""
        self.folder = Path(folder) if folder is not None else platformdirs.user_data_path("faceref")
        self.path = self.folder / FILE
        self._database = Database(self.path, TABLES)

    def everybody(self) -> list[Enrolled]:
        """Who is kept, by name."""
        if not self.path.exists():
            return []
        with self._database.reading() as rows:
            found = rows.execute(
                "SELECT person.name, count(digest), enrolled FROM person LEFT JOIN reference ON person = id "
                "GROUP BY id ORDER BY person.name"
            ).fetchall()
        return [Enrolled(*row) for row in found]

    def get(self, name: str) -> Person:
        """A person, as they were enrolled: the same pixels, so the same restorations. Raises UsageError if unknown."""
        if not self.path.exists():
            raise self._unknown(name, [])
        with self._database.reading() as rows:
            return self._person(rows, name, self.path)

    def stamp(self, name: str) -> tuple[Any, ...]:
        """What changes whenever the person does, without reading their faces. Raises UsageError if unknown."""
        if not self.path.exists():
            raise self._unknown(name, [])
        with self._database.reading() as rows:
            key = self._known(rows, name)
            found = rows.execute(
                "SELECT digest, name, embedding FROM reference WHERE person = ? ORDER BY rowid", (key,)
            )
            return (_spelled(rows, key), *found.fetchall())

    def digests(self, name: str) -> list[str]:
        """Of the photographs by which a person is known. Raises UsageError if unknown."""
        return [digest for digest, *_ in self.stamp(name)[1:]]

    def check_free(self, name: str) -> None:
        """Raises UsageError for a name that is taken."""
        if self.path.exists():
            with self._database.reading() as rows:
                _check_free(rows, name)

    def enroll(self, name: str, person: Person) -> None:
        """Keep a new person. Raises UsageError for a name that is taken or none, OutputError for a folder."""
        name = check_name(name)
        with self._database.writing() as rows:
            _check_free(rows, name)
            _insert(rows, name, person.references)

    def add(self, name: str, person: Person) -> int:
        """More references of a person; how many of them are new. Raises UsageError if the person is unknown."""
        with self._database.writing() as rows:
            return _insert_references(rows, self._known(rows, name), person.references)

    def rename(self, name: str, new: str) -> tuple[str, str]:
        """The name that was, and the new one, as they are spelled.

        Raises UsageError for an unknown person, and a new name that is taken or none.
        """
        new = check_name(new)
        with self._database.writing() as rows:
            person, taken = self._known(rows, name), _id(rows, new)
            if taken not in (None, person):
                raise _taken(new, hint="merge the two, or choose another name")
            was = _spelled(rows, person)
            rows.execute("UPDATE person SET name = ? WHERE id = ?", (new, person))
        return was, new

    def merge(self, name: str, other: str) -> tuple[str, str]:
        """The references of `other` become those of `name`, and `other` goes; both names as they are spelled.

        Raises UsageError for an unknown one.
        """
        with self._database.writing() as rows:
            person, gone = self._known(rows, name), self._known(rows, other)
            if person == gone:
                raise UsageError(f"{name!r} cannot be merged with itself", hint="name two people")
            spelled = _spelled(rows, person), _spelled(rows, gone)
            rows.execute("UPDATE OR IGNORE reference SET person = ? WHERE person = ?", (person, gone))
            rows.execute("DELETE FROM person WHERE id = ?", (gone,))
        return spelled

    def remove(self, name: str) -> str:
        """Forget a person: nothing of them is left in the file. The name, as it was spelled.

        Raises UsageError if unknown.
        """
        with self._database.writing() as rows:
            person = self._known(rows, name)
            spelled = _spelled(rows, person)
            rows.execute("DELETE FROM person WHERE id = ?", (person,))
        self._database.overwrite_log()
        return spelled

    def export(self, names: Sequence[str], path: str | Path) -> None:
        """Write people (all, where none is named) to one file, whole or not at all.

        Raises as `get`; OutputError, also for a file that is there and no earlier export.
        """
        since = {one.name: one.enrolled for one in self.everybody()}
        people = {str(person.name): person for person in map(self.get, names or since)}
        if not people:
            raise UsageError("Nobody is enrolled, so that there is nobody to export", hint="enroll people first")
        check_writable(Path(path))
        self._check_may_be_replaced(Path(path))
        with write_atomically(path) as temporary:
            temporary.touch(0o600)
            with readable(Path(path), TABLES), closing(connect(temporary)) as rows:
                make(rows, TABLES)
                with rows:
                    for name, person in people.items():
                        _insert(rows, name, person.references, since.get(name))
                rows.execute("PRAGMA journal_mode = DELETE")

    def _check_may_be_replaced(self, path: Path) -> None:
        if not path.exists():
            return
        if path.resolve() == self.path.resolve():
            raise OutputError("is where people are kept", subject=path, hint="choose another file")
        try:
            with readable(path, TABLES), closing(connect(path, readonly=True)) as rows:
                check_version(rows, path, TABLES)
                rows.execute("SELECT count(*) FROM person")
        except CheckpointError as error:
            hint = "move it away or choose another file"
            raise OutputError("is there already and is no export of people", subject=path, hint=hint) from error

    def import_(self, path: str | Path) -> list[str]:
        """Take in the people of an exported file, all of them or none; their names.

        Raises CheckpointError for another file, UsageError for a name that is taken.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError("is no file", subject=path, hint="give one that people were exported to")
        with readable(path, TABLES), closing(connect(path, readonly=True)) as theirs:
            check_version(theirs, path, TABLES)
            since = {
                str(name): str(day) for name, day in theirs.execute("SELECT name, enrolled FROM person ORDER BY name")
            }
            people = [(check_name(name), self._person(theirs, name, path), day) for name, day in since.items()]
        with self._database.writing() as rows:
            if taken := [name for name in since if _id(rows, name) is not None]:
                raise _taken(taken[0], hint="rename or remove them first")
            for name, person, day in people:
                _insert(rows, name, person.references, day)
        return list(since)

    def _person(self, rows: sqlite3.Connection, name: str, path: Path) -> Person:
        key = self._known(rows, name)
        found = rows.execute(
            "SELECT name, face, embedding, digest FROM reference WHERE person = ? ORDER BY rowid", (key,)
        )
        references = [_reference(path, number, *row) for number, row in enumerate(found, start=1)]
        return Person(tuple(references), name=_spelled(rows, key))

    def _known(self, rows: sqlite3.Connection, name: str) -> int:
        found = _id(rows, name)
        if found is None:
            raise self._unknown(name, [other for (other,) in rows.execute("SELECT name FROM person ORDER BY name")])
        return found

    def _unknown(self, name: str, known: Sequence[str]) -> UsageError:
        hint = f"choose one of {', '.join(known)}" if known else "enroll people first; nobody is yet"
        return UsageError(f"Nobody is enrolled as {name!r}", hint=hint, code="unknown_person")


def check_name(name: str) -> str:
    """A person's name without blanks around it. Raises UsageError for one that could not be shown or typed."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    is_path = "/" in name or "\\" in name or not name.strip(".")
    if len(name) > LONGEST_NAME or is_path or not name.isprintable():
        raise UsageError(
            f"{name!r} cannot be a person's name",
            hint=f"use 1 to {LONGEST_NAME} characters, no slash among them and not only dots",
            code="person_name",
        )
    return name


def _id(rows: sqlite3.Connection, name: str) -> int | None:
    """The person of a name. SQLite's index of names knows the case of ASCII only: of the others each is looked at."""
    try:
        name.encode()
    except UnicodeEncodeError:  # what was typed is no text, and so nobody's name
        return None
    found = rows.execute("SELECT id FROM person WHERE name IN (?, ?)", (name, compared(name))).fetchone()
    if found is not None:
        return found[0]
    others = rows.execute("SELECT id, name FROM person WHERE name GLOB '*[^ -~]*' ORDER BY id")
    return next((person for person, known in others if same_name(known, name)), None)


def _spelled(rows: sqlite3.Connection, person: int) -> str:
    (name,) = rows.execute("SELECT name FROM person WHERE id = ?", (person,)).fetchone()
    return name


def _check_free(rows: sqlite3.Connection, name: str) -> None:
    if _id(rows, name) is not None:
        raise _taken(name, hint="add the photographs to them, or choose another name")


def _taken(name: str, hint: str) -> UsageError:
    return UsageError(f"{name!r} is enrolled already", hint=hint, code="person_exists")


def _insert(rows: sqlite3.Connection, name: str, references: Sequence[Reference], enrolled: str | None = None) -> None:
    enrolled = enrolled or datetime.now(UTC).isoformat(timespec="seconds")
    person = rows.execute("INSERT INTO person (name, enrolled) VALUES (?, ?)", (name, enrolled)).lastrowid
    assert person is not None  # a row was inserted
    _insert_references(rows, person, references)


def _insert_references(rows: sqlite3.Connection, person: int, references: Sequence[Reference]) -> int:
    before = rows.total_changes
    rows.executemany(
        "INSERT OR IGNORE INTO reference (person, digest, name, face, embedding) VALUES (?, ?, ?, ?, ?)",
        [(person, one.digest, one.name, _png(one.face), one.embedding.astype("<f4").tobytes()) for one in references],
    )
    return rows.total_changes - before


def _png(face: Image.Image) -> bytes:
    buffer = io.BytesIO()
    face.save(buffer, "PNG")
    return buffer.getvalue()


def _reference(path: Path, number: int, name: str, face: bytes, embedding: bytes, digest: str) -> Reference:
    """A row as a reference; what came without a name is called by its number, from 1.

    Raises CheckpointError if it is not what was written.
    """
    numbers = np.frombuffer(embedding, "<f4")
    image = Image.open(io.BytesIO(face), formats=("PNG",))
    if numbers.shape != (EMBEDDING,) or not np.isfinite(numbers).all() or image.size != (FACE_SIZE, FACE_SIZE):
        raise CheckpointError(f"is damaged at the reference {name}", subject=path, hint="use a copy of it")
    called = f"photograph {number}" if NAMELESS.fullmatch(name) else name
    return Reference(called, image.convert("RGB"), numbers.astype(np.float32), digest)
