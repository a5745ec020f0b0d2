"""Jobs that were accepted: one SQLite file that outlives the process, and keeps nothing for longer than it must.

What was accepted is finished once, also after kill -9: a job is over in the same transaction that keeps its result and
forgets its pictures. (huey's queue in SQLite deletes a task before it runs it, so that a kill would lose it.)
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faceref.app.server.errors import FailedJobError, RefusedError
from faceref.app.server.jobs_file import FILE, JobsFile
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.request import JobRequest
from faceref.app.server.schema import Job, Problem, State
from faceref.app.server.work import GONE, LONG_AGO, Work
from faceref.errors import OutputError
from faceref.restore.account import Account
from faceref.restore.layers import Layers


class JobQueue:
    """The jobs of a folder as their owners see them; `work` is what workers see."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        """Raises OutputError if the folder cannot be used, CheckpointError for jobs of another version."""
        self.limits = limits
        self._clock = clock
        self._file = JobsFile(folder / FILE)
        self.work = Work(self._file, limits, clock)

    def submit(self, owner: str, request: JobRequest, key: str | None = None) -> Job:
        """Accept a request; one with the same idempotency key is the same job. Raises RefusedError."""
        digest = request.digest()
        with self._file.lock:  # nothing is cancelled between what is deleted and what is looked for
            self.work.purge()  # what its owner cannot see any more takes no room of theirs
            with self._file.transaction() as rows:
                known = self._accepted(owner, key, digest)
                if known is not None:
                    return self.get(owner, known)
                self._check_room(owner)
                self._file.check_room(sum(map(len, (request.photo, *request.references))))
                id = secrets.token_urlsafe(16)
                number = rows.execute(
                    "INSERT INTO job (id, owner, key, digest, request) VALUES (?, ?, ?, ?, ?)",
                    (id, owner, key, digest, request.settings_json()),
                ).lastrowid
                rows.executemany(
                    "INSERT INTO upload VALUES (?, ?, ?)",
                    [(number, i, data) for i, data in enumerate((request.photo, *request.references))],
                )
            self.work.arrived.set()
            return self.get(owner, id)

    def accepted(self, owner: str, request: JobRequest, key: str | None) -> Job | None:
        """The job that a request with an idempotency key is already. Raises RefusedError for another request's key."""
        if key is None:
            return None
        digest = request.digest()
        with self._file.lock:
            self.work.purge()
            known = self._accepted(owner, key, digest)
            return None if known is None else self.get(owner, known)

    def get(self, owner: str, id: str) -> Job:
        """Raises RefusedError for a job that is not there, or is another's."""
        with self._file.lock:
            state, account, problem, number = self._row(owner, id, "state, account, problem, number")
            ahead = self._ahead(owner, number) if state == State.WAITING else 0
            done, total = self.work.steps(id)
        return Job(
            id=id,
            state=State(state),
            ahead=ahead,
            steps_done=done,
            steps=total,
            account=account and Account.model_validate_json(account),
            problem=problem and Problem.model_validate_json(problem),
        )

    def glance(self, id: str) -> tuple[int, tuple[int, int | None]]:
        """What changes whenever a job may have, so that many can follow theirs; nothing is read for it."""
        return self._file.changes, self.work.steps(id)

    def result(self, owner: str, id: str) -> Picture:
        """The picture. Raises RefusedError (not there, not over), FailedJobError."""
        with self._file.lock:
            return Picture(*self._done(owner, id, "picture, media_type"))

    def fetched(self, owner: str, id: str) -> None:
        """Delete a job soon that is over: its result, or what it failed of, is being sent. Raises RefusedError."""
        soon = self._clock() + self.limits.fetched_seconds

        def end_soon(rows: sqlite3.Connection) -> None:
            self._row(owner, id, "id")
            rows.execute("UPDATE job SET expires = min(expires, ?) WHERE id = ?", (soon, id))

        with suppress(OutputError):  # the disk is full: it stays until its time is over
            self._file.change(end_soon)

    def upload(self, owner: str, id: str, position: int) -> Picture:
        """The photograph (0) or a reference (from 1) as it came, until the job is gone or has failed.

        Raises RefusedError.
        """
        with self._file.lock:
            number, *_ = self._row(owner, id, "number")
            found = self._file.rows.execute(
                "SELECT data FROM upload WHERE job = ? AND position = ?", (number, position)
            ).fetchone()
        if found is None:
            what = f"Reference {position}" if position else "The photograph"
            raise RefusedError(404, "no_photo", f"{what} is not kept", hint="send it again")
        return Picture.as_it_came(found[0])

    def layers(self, owner: str, id: str) -> Layers:
        """What the picture is composed of. Raises as `result`."""
        with self._file.lock:
            (number,) = self._done(owner, id, "number")
            (data,) = self._file.rows.execute("SELECT data FROM layers WHERE job = ?", (number,)).fetchone()
        return Layers.model_validate_json(data)

    def discard(self, owner: str, id: str) -> None:
        """Cancel a job, or forget its result: nothing of it is left. Raises RefusedError."""

        def forget(rows: sqlite3.Connection) -> None:
            self._row(owner, id, "id")
            rows.execute("UPDATE job SET state = ?, expires = ? WHERE id = ?", (GONE, LONG_AGO, id))

        self._file.change(forget)  # it is gone for its owner, whatever keeps it from being deleted at once
        self.work.purge()

    @contextmanager
    def renaming(self, owner: str, name: str, new: str) -> Iterator[None]:
        """The block calls somebody otherwise, whom jobs that are not over then look for by the new name."""
        with self.work.naming:
            yield
            with self._file.transaction() as rows:
                left = "SELECT number, request FROM job WHERE owner = ? AND state IN ('waiting', 'running')"
                for number, settings in rows.execute(left, (owner,)).fetchall():
                    with suppress(ValueError, KeyError, TypeError):  # of another version: it fails when it is read
                        renamed = JobRequest.of(settings, [b""]).renamed({name: new}).settings_json()
                        rows.execute("UPDATE job SET request = ? WHERE number = ?", (renamed, number))

    @property
    def is_full(self) -> bool:
        """Whether the disk has no room for jobs."""
        return self._file.is_full

    def close(self) -> None:
        self._file.close()

    def _ahead(self, owner: str, number: int) -> int:
        """How many jobs come before one that waits, at most: its owner's older ones, and others' in their turns."""
        counted = self._file.rows.execute(
            "SELECT owner = ?, sum(number < ?), count(*) FROM job WHERE state IN ('waiting', 'running') GROUP BY owner",
            (owner, number),
        ).fetchall()
        own = next(older for is_own, older, _ in counted if is_own)
        return own + sum(min(jobs, own + 1) for is_own, _, jobs in counted if not is_own)

    def _accepted(self, owner: str, key: str | None, digest: str) -> str | None:
        """The id of the job of this key. Raises RefusedError for another request's."""
        known = self._file.rows.execute("SELECT id, digest FROM job WHERE owner = ? AND key = ?", (owner, key))
        id, of = known.fetchone() or (None, digest)
        if of != digest:
            reason = "This Idempotency-Key was given for another request"
            raise RefusedError(409, "key_taken", reason, hint="use a new one")
        return id

    def _check_room(self, owner: str) -> None:
        waiting = self.work.count(State.WAITING, owner)
        if waiting >= self.limits.waiting:
            raise RefusedError(
                429,
                "queue_full",
                f"{waiting} jobs are waiting already",
                hint="try again later",
                headers={"Retry-After": str(max(1, round(self.work.seconds_for(waiting))))},
            )
        counted = "SELECT count(*), min(expires) FROM job WHERE owner = ?"
        kept, expires = self._file.rows.execute(counted, (owner,)).fetchone()
        if kept >= self.limits.kept:
            raise RefusedError(
                429,
                "too_many_kept",
                f"{kept} of your jobs are kept already",
                hint="fetch their results and delete them",
                # until the first is over nobody knows when a place will be free
                headers=None if expires is None else {"Retry-After": str(int(expires - self._clock()) + 1)},
            )

    def _done(self, owner: str, id: str, columns: str) -> tuple:
        """Columns of a job that is done. Raises RefusedError (not there, not over), FailedJobError."""
        state, problem, status, *values = self._row(owner, id, f"state, problem, status, {columns}")
        if state == State.FAILED:
            said = Problem.model_validate_json(problem)
            raise FailedJobError(status, said.code, said.reason, subject=said.subject, hint=said.hint)
        if state != State.DONE:
            hint = "ask again later, or follow its events"
            raise RefusedError(409, "not_done", "The job is not done yet", hint=hint, headers={"Retry-After": "1"})
        return tuple(values)

    def _row(self, owner: str, id: str, columns: str) -> tuple:
        there = "id = ? AND owner = ? AND (expires IS NULL OR expires >= ?)"
        row = self._file.rows.execute(f"SELECT {columns} FROM job WHERE {there}", (id, owner, self._clock())).fetchone()
        if row is None:
            hint = "it was cancelled, or its time is over"
            raise RefusedError(404, "no_job", "There is no such job", hint=hint)
        return row
