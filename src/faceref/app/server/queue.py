"""Jobs that were accepted: one SQLite file that outlives the process, and keeps nothing for longer than it must.

What was accepted is finished once, also after kill -9: a job is over in the same transaction that keeps its result and
forgets its pictures. (huey's queue in SQLite deletes a task before it runs it, so that a kill would lose it.)
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock

from faceref.app.server.errors import RefusedError
from faceref.app.server.jobs_file import FILE, open_jobs
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.request import JobRequest
from faceref.app.server.schema import Job, Problem, State
from faceref.errors import OutputError
from faceref.restore.account import Account
from faceref.restore.layers import Layers

STARTS = 3  # a job that the process has died of so many times is not tried again


@dataclass(frozen=True)
class Claimed:
    """A job that the worker is to do."""

    id: str
    owner: str
    request: JobRequest


@dataclass(frozen=True)
class Done:
    """What the worker has made of a job; layers: to show it at another strength."""

    picture: Picture
    layers: Layers
    account: Account


class JobQueue:
    """The jobs of a folder, which one process at a time may use; its threads share it."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        """Jobs that ran when the last process ended wait again. Raises OutputError if the folder cannot be used."""
        self.limits = limits
        self.arrived = Event()
        self._clock = clock
        self._lock = RLock()
        self._steps: dict[str, tuple[int, int]] = {}
        self._pace = 1.0  # seconds that a job takes
        self._rows = open_jobs(folder / FILE)
        with self._transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting' WHERE state = 'running'")

    def submit(self, owner: str, request: JobRequest, key: str | None = None) -> Job:
        """Accept a request; one with the same idempotency key is the same job. Raises RefusedError."""
        digest = request.digest()
        with self._transaction() as rows:
            known = rows.execute("SELECT id, digest FROM job WHERE owner = ? AND key = ?", (owner, key)).fetchone()
            if known is not None:
                if known[1] != digest:
                    raise RefusedError(
                        409, "key_taken", "This Idempotency-Key was given for another request", hint="use a new one"
                    )
                return self.get(owner, known[0])
            self._check_room(owner)
            id = secrets.token_urlsafe(16)
            number = rows.execute(
                "INSERT INTO job (id, owner, key, digest, request) VALUES (?, ?, ?, ?, ?)",
                (id, owner, key, digest, request.settings_json()),
            ).lastrowid
            rows.executemany(
                "INSERT INTO upload VALUES (?, ?, ?)",
                [(number, i, data) for i, data in enumerate((request.photo, *request.references))],
            )
        self.arrived.set()
        return self.get(owner, id)

    def get(self, owner: str, id: str) -> Job:
        """Raises RefusedError for a job that is not there, or is another's."""
        with self._lock:
            state, account, problem, ahead = self._row(
                owner,
                id,
                "state, account, problem, "
                "(SELECT count(*) FROM job AS other WHERE other.state IN ('waiting', 'running') "
                "AND other.number < job.number)",
            )
            done, total = self._steps.get(id, (0, None))
        return Job(
            id=id,
            state=State(state),
            ahead=ahead if state == State.WAITING else 0,
            steps_done=done,
            steps=total,
            account=account and Account.model_validate_json(account),
            problem=problem and Problem.model_validate_json(problem),
        )

    def result(self, owner: str, id: str, *, keep: bool = False) -> Picture:
        """The picture, which is deleted soon after, if it is not to be kept until its time is over.

        Raises RefusedError: not there, not over, or what it failed of.
        """
        with self._transaction() as rows:
            data, media_type = self._done(owner, id, "picture, media_type")
            if keep:
                return Picture(data, media_type)
            soon = self._clock() + self.limits.fetched_seconds
            rows.execute("UPDATE job SET expires = min(expires, ?) WHERE id = ?", (soon, id))
        return Picture(data, media_type)

    def photo(self, owner: str, id: str) -> Picture:
        """The photograph as it came, until the job is gone or has failed. Raises RefusedError."""
        with self._lock:
            number, *_ = self._row(owner, id, "number")
            found = self._rows.execute("SELECT data FROM upload WHERE job = ? AND position = 0", (number,)).fetchone()
        if found is None:
            raise RefusedError(404, "no_photo", "The photograph is not kept any more", hint="send it again")
        return Picture.as_it_came(found[0])

    def layers(self, owner: str, id: str) -> Layers:
        """What the picture is composed of. Raises as `result`."""
        with self._lock:
            (number,) = self._done(owner, id, "number")
            (data,) = self._rows.execute("SELECT data FROM layers WHERE job = ?", (number,)).fetchone()
        return Layers.model_validate_json(data)

    def discard(self, owner: str, id: str) -> None:
        """Cancel a job, or forget its result: nothing of it is left. Raises RefusedError."""
        with self._transaction() as rows:
            self._row(owner, id, "id")
            rows.execute("DELETE FROM job WHERE id = ?", (id,))
            self._steps.pop(id, None)
        self._overwrite()

    def claim(self) -> Claimed | None:
        """The oldest job, for the worker to do: there is one, so that what runs is what it could not finish."""
        with self._transaction() as rows:
            self.arrived.clear()
            rows.execute(
                "UPDATE job SET state = 'failed', problem = ?, status = 500, expires = ? "
                "WHERE state IN ('waiting', 'running') AND starts >= ?",
                (_STOPPED_THE_SERVER.model_dump_json(), self._expiry(), STARTS),
            )
            row = rows.execute(
                "UPDATE job SET state = 'running', starts = starts + 1 WHERE number = "
                "(SELECT min(number) FROM job WHERE state IN ('waiting', 'running')) "
                "RETURNING number, id, owner, request"
            ).fetchone()
            if row is None:
                return None
            number, id, owner, settings = row
            found = rows.execute("SELECT data FROM upload WHERE job = ? ORDER BY position", (number,))
            return Claimed(id, owner, JobRequest.of(settings, [data for (data,) in found]))

    def report(self, id: str, done: int, total: int) -> bool:
        """Note how far the worker is; whether the job is still wanted."""
        with self._lock:
            wanted = self._rows.execute("SELECT 1 FROM job WHERE id = ? AND state = 'running'", (id,)).fetchone()
            if wanted:
                self._steps[id] = (done, total)
        return bool(wanted)

    def release(self, id: str) -> None:
        """A job that the server stops in the middle of waits again, as if it had not been started."""
        with self._transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting', starts = starts - 1 WHERE id = ?", (id,))

    def finish(self, id: str, done: Done, seconds: float) -> None:
        """Keep a result with its photograph and forget the references; nothing, if the job was cancelled meanwhile."""
        self._pace += 0.2 * (seconds - self._pace)
        self._end(
            id,
            "state = 'done', picture = ?, media_type = ?, account = ?",
            (done.picture.data, done.picture.media_type, done.account.model_dump_json()),
            done.layers,
        )

    def fail(self, id: str, problem: Problem, status: int) -> None:
        """Keep why a job failed, and the HTTP status that goes with it, and forget what was uploaded."""
        self._end(id, "state = 'failed', problem = ?, status = ?", (problem.model_dump_json(), status))

    def purge(self) -> None:
        """Delete results whose time is over."""
        with self._transaction() as rows:
            gone = rows.execute("DELETE FROM job WHERE expires < ?", (self._clock(),)).rowcount
        if gone:
            self._overwrite()

    def count(self, state: State) -> int:
        with self._lock:
            return self._rows.execute("SELECT count(*) FROM job WHERE state = ?", (state,)).fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._rows.close()

    def _check_room(self, owner: str) -> None:
        waiting = self.count(State.WAITING)
        if waiting >= self.limits.waiting:
            raise RefusedError(
                429,
                "queue_full",
                f"{waiting} jobs are waiting already",
                hint="try again later",
                headers={"Retry-After": str(max(1, round(waiting * self._pace)))},
            )
        kept = self._rows.execute("SELECT count(*) FROM job WHERE owner = ?", (owner,)).fetchone()[0]
        if kept >= self.limits.kept:
            hint = "fetch their results and delete them"
            raise RefusedError(429, "too_many_kept", f"{kept} of your jobs are kept already", hint=hint)

    def _done(self, owner: str, id: str, columns: str) -> tuple:
        """Columns of a job that is done. Raises RefusedError: not there, not over, or what it failed of."""
        state, problem, status, *values = self._row(owner, id, f"state, problem, status, {columns}")
        if state == State.FAILED:
            said = Problem.model_validate_json(problem)
            raise RefusedError(status, said.code, said.reason, subject=said.subject, hint=said.hint)
        if state != State.DONE:
            hint = "ask again later, or follow its events"
            raise RefusedError(409, "not_done", "The job is not done yet", hint=hint, headers={"Retry-After": "1"})
        return tuple(values)

    def _row(self, owner: str, id: str, columns: str) -> tuple:
        row = self._rows.execute(f"SELECT {columns} FROM job WHERE id = ? AND owner = ?", (id, owner)).fetchone()
        if row is None:
            hint = "it was cancelled, or its time is over"
            raise RefusedError(404, "no_job", "There is no such job", hint=hint)
        return row

    def _end(self, id: str, what: str, values: tuple, layers: Layers | None = None) -> None:
        with self._transaction() as rows:
            ended = rows.execute(
                f"UPDATE job SET {what}, expires = ? WHERE id = ? AND state = 'running' RETURNING number",
                (*values, self._expiry(), id),
            ).fetchone()
            if ended and layers is not None:
                rows.execute("INSERT INTO layers VALUES (?, ?)", (*ended, layers.model_dump_json()))
            rows.execute(
                "DELETE FROM upload WHERE job = (SELECT number FROM job WHERE id = ?) AND (position > 0 OR ?)",
                (id, layers is None),
            )
            self._steps.pop(id, None)
        self._overwrite()

    def _expiry(self) -> float:
        return self._clock() + self.limits.keep_seconds

    def _overwrite(self) -> None:
        """What was deleted is overwritten in the log of changes, too."""
        with self._lock:
            self._rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Raises OutputError where the disk is full."""
        with self._lock:
            try:
                self._rows.execute("BEGIN IMMEDIATE")
                with self._rows:
                    yield self._rows
            except sqlite3.OperationalError as error:
                raise OutputError(f"The queue cannot be written ({error})", hint="free some space") from error


_STOPPED_THE_SERVER = Problem(
    code="internal", subject=None, reason=f"The server stopped {STARTS} times while it did this job", hint=None
)
