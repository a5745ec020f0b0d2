"""The SQLite file of accepted jobs: its tables, how it is opened, and how what is deleted is overwritten.

That needs room: SQLite writes what it overwrites to its log first. So there is a reserve, a file that is given up where
the disk is full, and then what is deleted is overwritten in pieces that have room in it.
"""

import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TypeVar

from faceref.errors import CheckpointError, OutputError
from faceref.files import cannot_be_written
from faceref.people.database import Tables, check_version, full, make

FILE = "jobs.sqlite"
TABLES = Tables(
    what="jobs",
    version=1,
    statements="""
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, key TEXT,
    digest TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', starts INTEGER NOT NULL DEFAULT 0, expires REAL,
    request TEXT NOT NULL, picture BLOB, media_type TEXT, account TEXT, problem TEXT, status INTEGER,
    UNIQUE (owner, key)
) STRICT;
CREATE TABLE upload (
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE, position INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (job, position)
) STRICT;
CREATE TABLE layers (job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE, data TEXT NOT NULL) STRICT;
CREATE TABLE finished (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT;
""",
    remedy="let the version that wrote it finish its jobs, then delete the file",
    code="jobs_version",
)


RESERVE_FILE = "reserve"
RESERVE = 4 << 20  # bytes
PIECE = 1 << 20  # bytes that are overwritten at once where the disk is full
SPARE = 4096  # pages that the file may have to spare, and that are given back at once


@dataclass(frozen=True)
class Deletion:
    """What is deleted of jobs: `rows` by a JSON list of their numbers, once `contents` may have been overwritten.

    contents: columns of large values, each with its table and the column there that has the job's number.
    """

    rows: str
    contents: tuple[tuple[str, str, str], ...]


_THESE = "IN (SELECT value FROM json_each(?))"
UPLOADS = Deletion(f"DELETE FROM upload WHERE job {_THESE}", (("upload", "data", "job"),))
JOBS = Deletion(
    f"DELETE FROM job WHERE number {_THESE}",
    (
        *UPLOADS.contents,
        ("layers", "data", "job"),
        *(("job", column, "number") for column in ("picture", "account", "request", "problem")),
    ),
)
T = TypeVar("T")


class JobsFile:
    """The file, which one process at a time may use; its threads share it."""

    def __init__(self, path: Path) -> None:
        """Raises OutputError if it cannot be used, CheckpointError for a file of another version."""
        self.lock = RLock()
        self.rows = _open(path)
        self._folder = path.parent
        self._reserve = path.with_name(RESERVE_FILE)
        self._lay_reserve()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises OutputError where the disk is full."""
        with self.lock:
            try:
                self.rows.execute("BEGIN IMMEDIATE")
                with self.rows:
                    yield self.rows
            except sqlite3.OperationalError as error:
                with suppress(OutputError):  # the room that it took is free again, and holds nothing of it
                    self.overwrite()
                raise _cannot_be_written(error) from error

    @property
    def changes(self) -> int:
        """How many rows were changed since it was opened, those of a transaction at hand among them."""
        return self.rows.total_changes

    def change(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """What `change` returns: a transaction that takes little room, which the reserve has where the disk is full.

        Raises OutputError.
        """
        try:
            with self.transaction() as rows:
                return change(rows)
        except OutputError:
            self._reserve.unlink(missing_ok=True)
            with self.transaction() as rows:
                return change(rows)

    def delete(self, what: Deletion, jobs: Sequence[int]) -> None:
        """Delete of jobs, by their numbers, so that nothing of it is left in the files. Raises OutputError."""
        if not jobs:
            return
        numbers = json.dumps(jobs)
        with self.lock:
            try:
                with self.transaction() as rows:
                    rows.execute(what.rows, (numbers,))
            except OutputError:
                self._reserve.unlink(missing_ok=True)
                self._delete_in_pieces(what, numbers)
            self.overwrite()

    def _delete_in_pieces(self, what: Deletion, numbers: str) -> None:
        for table, column, key in what.contents:
            is_there = f"{key} {_THESE} AND {column} IS NOT NULL"
            for (row,) in self.rows.execute(f"SELECT rowid FROM {table} WHERE {is_there}", (numbers,)).fetchall():
                self._overwrite_in_pieces(table, column, row)
        try:
            self.rows.execute("PRAGMA secure_delete = FAST")  # pages that are full of zeros are not written again
            with self.transaction() as rows:
                rows.execute(what.rows, (numbers,))
        finally:
            self.rows.execute("PRAGMA secure_delete = ON")

    def _overwrite_in_pieces(self, table: str, column: str, row: int) -> None:
        start, end = 0, 1
        while start < end:
            try:
                with self.rows.blobopen(table, column, row) as value:  # a transaction of its own
                    end = len(value)
                    value.seek(start)
                    value.write(bytes(min(PIECE, end - start)))
            except sqlite3.OperationalError as error:
                raise _cannot_be_written(error) from error
            start += PIECE
            self.overwrite()

    def check_room(self, size: int) -> None:
        """Raises OutputError where so many bytes have no room on the disk, in the log of changes and in the file."""
        if shutil.disk_usage(self._folder).free < 2 * size:
            raise OutputError("The disk is full", hint="free some space", code="disk_full")

    @property
    def is_full(self) -> bool:
        """Whether the disk has less room than the reserve takes."""
        return shutil.disk_usage(self._folder).free < RESERVE

    def give_back(self) -> None:
        """Room that is to spare, to the disk, and a part of it to the reserve."""
        with self.lock, suppress(sqlite3.OperationalError, OutputError):  # there is none even for that
            self._lay_reserve()
            if self.rows.execute("PRAGMA freelist_count").fetchone()[0] > SPARE:
                self.rows.executescript(f"PRAGMA incremental_vacuum({SPARE})")  # `execute` ends after the first page
                self.overwrite()

    def _lay_reserve(self) -> None:
        if not self._reserve.exists() and shutil.disk_usage(self._folder).free > 2 * RESERVE:
            try:
                self._reserve.write_bytes(secrets.token_bytes(RESERVE))  # zeros might take no room
            except OSError:
                self._reserve.unlink(missing_ok=True)

    def overwrite(self) -> None:
        """What was deleted is overwritten in the log of changes, too. Raises OutputError where the disk is full."""
        with self.lock:
            try:
                self.rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                raise _cannot_be_written(error) from error

    def close(self) -> None:
        with self.lock:
            self.rows.close()


def _cannot_be_written(error: sqlite3.OperationalError) -> OutputError:
    return OutputError(f"The queue cannot be written ({error})", hint="free some space", code=full(error))


def _open(path: Path) -> sqlite3.Connection:
    """The file, readable by its owner alone, and locked for as long as this process lives."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise cannot_be_written(path, error) from error
    rows = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    try:
        rows.execute("PRAGMA locking_mode = EXCLUSIVE")
        rows.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file: one that has tables stays as it is
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute("PRAGMA synchronous = FULL")  # an answer 202 outlives the machine's power, too
        rows.execute("PRAGMA foreign_keys = ON")
        rows.execute("PRAGMA secure_delete = ON")
        rows.execute("BEGIN IMMEDIATE")
        with rows:
            if not rows.execute("SELECT 1 FROM sqlite_schema").fetchone():
                make(rows, TABLES)
            check_version(rows, path, TABLES)
    except CheckpointError:
        rows.close()
        raise
    except sqlite3.DatabaseError as error:
        rows.close()
        hint = "stop the other server, or use another data folder"
        raise OutputError(f"cannot be used ({error})", subject=path, hint=hint, code="in_use") from error
    return rows
