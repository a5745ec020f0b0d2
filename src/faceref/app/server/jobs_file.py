"""The SQLite file of accepted jobs: its tables, and how it is opened."""

import os
import sqlite3
from pathlib import Path

from faceref.errors import OutputError
from faceref.files import cannot_be_written

FILE = "jobs.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, key TEXT,
    digest TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', starts INTEGER NOT NULL DEFAULT 0, expires REAL,
    request TEXT NOT NULL, picture BLOB, media_type TEXT, account TEXT, problem TEXT, status INTEGER,
    UNIQUE (owner, key)
) STRICT;
CREATE TABLE IF NOT EXISTS upload (
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE, position INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (job, position)
) STRICT;
CREATE TABLE IF NOT EXISTS layers (job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE, data TEXT NOT NULL) STRICT;
"""


def open_jobs(path: Path) -> sqlite3.Connection:
    """The file, readable by its owner alone, and locked for as long as this process lives. Raises OutputError."""
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
        rows.executescript(_TABLES)
    except sqlite3.DatabaseError as error:
        rows.close()
        hint = "stop the other server, or use another data folder"
        raise OutputError(f"cannot be used ({error})", subject=path, hint=hint, code="in_use") from error
    return rows
