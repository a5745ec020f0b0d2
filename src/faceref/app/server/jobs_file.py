"""The SQLite file of accepted jobs: its tables, how it is opened, and how what was deleted is overwritten."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from faceref.errors import CheckpointError, OutputError
from faceref.files import cannot_be_written
from faceref.people.database import Tables, check_version, make

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


class JobsFile:
    """The file, which one process at a time may use; its threads share it."""

    def __init__(self, path: Path) -> None:
        """Raises OutputError if it cannot be used, CheckpointError for a file of another version."""
        self.lock = RLock()
        self.rows = _open(path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises OutputError where the disk is full."""
        with self.lock:
            try:
                self.rows.execute("BEGIN IMMEDIATE")
                with self.rows:
                    yield self.rows
            except sqlite3.OperationalError as error:
                raise _cannot_be_written(error) from error

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
    return OutputError(f"The queue cannot be written ({error})", hint="free some space")


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
