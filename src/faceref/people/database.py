"""A SQLite file that only its owner can read, for processes that use it at once; what SQLite says as our errors.

Changes are there as a whole or not at all, also after kill -9: a log is written ahead (WAL).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceref.errors import CheckpointError, OutputError
from faceref.files import cannot_be_written

PATIENCE = 10.0  # seconds that one process waits for another


@dataclass(frozen=True)
class Tables:
    """What a file of ours holds.

    what: continues "holds" ("people"); version: of the tables; statements: make them; remedy: of a file of another
    version, as it continues the sentence, and code of that error; without one such a file is made anew; damaged: the
    remedy of a file that is.
    """

    what: str
    version: int
    statements: str
    remedy: str | None = None
    code: str | None = None
    damaged: str = "use a copy of it"


class Database:
    """A file with its tables, made on first writing. Threads and processes may share it."""

    def __init__(self, path: Path, tables: Tables) -> None:
        self.path = path
        self.tables = tables

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to one state of the file, which exists. Raises CheckpointError (damaged), OutputError (locked).

        Before its tables are made, as where the disk was full for them, it is read as one that holds nothing.
        """
        with ExitStack() as stack:
            stack.enter_context(readable(self.path, self.tables))
            rows = stack.enter_context(closing(connect(self.path)))
            if _is_new(rows):
                rows = stack.enter_context(closing(sqlite3.connect(":memory:")))
                make(rows, self.tables)
            rows.execute("BEGIN")
            check_version(rows, self.path, self.tables)
            yield rows

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which another process waits for. Raises as `reading`; OutputError for a folder, too."""
        with self.opened() as rows:
            rows.execute("BEGIN IMMEDIATE")
            with rows:
                yield rows

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection that writes each statement at once, to a file that need not exist yet."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise cannot_be_written(self.path, error) from error
        with readable(self.path, self.tables), closing(connect(self.path)) as rows:
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("BEGIN IMMEDIATE")
            (version,) = rows.execute("PRAGMA user_version").fetchone()
            if version not in (0, self.tables.version) and self.tables.remedy is None:
                _empty(rows)
                version = 0
            if version == 0:
                make(rows, self.tables)
            rows.commit()
            check_version(rows, self.path, self.tables)
            yield rows

    def overwrite_log(self) -> None:
        """What was deleted is overwritten, in the log of changes, too."""
        with self.opened() as rows:
            rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def connect(path: Path, readonly: bool = False) -> sqlite3.Connection:
    """A connection that begins no transaction by itself."""
    mode = "ro" if readonly else "rwc"
    rows = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None)
    rows.execute("PRAGMA foreign_keys = ON")
    rows.execute("PRAGMA secure_delete = ON")
    return rows


def make(rows: sqlite3.Connection, tables: Tables) -> None:
    """Make the tables of an empty file."""
    for statement in filter(str.strip, tables.statements.split(";")):
        rows.execute(statement)
    rows.execute(f"PRAGMA user_version = {tables.version}")


def _is_new(rows: sqlite3.Connection) -> bool:
    """Whether nobody has made tables yet, which come with their version: another process may make them in between."""
    has_tables = rows.execute("SELECT 1 FROM sqlite_schema").fetchone()
    return not has_tables and rows.execute("PRAGMA user_version").fetchone() == (0,)


def _empty(rows: sqlite3.Connection) -> None:
    """Remove what another version of ours has made."""
    names = rows.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid DESC").fetchall()
    for (name,) in names:  # those that refer to others were made after them
        rows.execute(f'DROP TABLE "{name}"')


def check_version(rows: sqlite3.Connection, path: Path, tables: Tables) -> None:
    """Raises CheckpointError for tables of another version."""
    (version,) = rows.execute("PRAGMA user_version").fetchone()
    if version != tables.version:
        raise CheckpointError(
            f"holds {tables.what} in the form {version}, and this version of faceref reads {tables.version}",
            subject=path,
            hint=tables.remedy,
            code=tables.code,
        )


def full(error: sqlite3.Error) -> str | None:
    """The code of our error where SQLite says that the disk is full."""
    return "disk_full" if error.sqlite_errorcode == sqlite3.SQLITE_FULL else None


@contextmanager
def readable(path: Path, tables: Tables) -> Iterator[None]:
    """Turns what SQLite says into our errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            hint = "wait for the other program and try again"
            raise OutputError("is in use by another program", subject=path, hint=hint, code="in_use") from error
        reason, hint = f"cannot be used ({error})", "check its permissions and the room on the disk"
        raise OutputError(reason, subject=path, hint=hint, code=full(error)) from error
    except (sqlite3.DatabaseError, ValueError, OSError) as error:
        raise CheckpointError(f"is damaged ({error})", subject=path, hint=tables.damaged) from error
