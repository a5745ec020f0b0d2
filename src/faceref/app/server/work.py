"""The workers' side of the queue: which job is next, how far it is, and that it is over once and for all."""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock

from faceref.app.server.jobs_file import JOBS, UPLOADS, JobsFile
from faceref.app.server.limits import Limits
from faceref.app.server.request import JobRequest
from faceref.app.server.restoring import Done
from faceref.app.server.schema import Problem, State

# A job that is not wanted any more, until it is deleted: as long as "done" and the time that it had, so that SQLite
# writes the row over, and not the picture in it anew.
GONE, LONG_AGO = "gone", 0.5 - 1e9
STARTS = 3  # a job that the process which did it has died of so many times is not tried again
_STOPPED_ITS_PROCESS = Problem(
    code="internal", subject=None, reason=f"The process that did this job stopped {STARTS} times", hint=None
)
_OF_ANOTHER_VERSION = Problem(
    code="internal",
    subject=None,
    reason="This job was sent to another version of faceref, and cannot be read by this one",
    hint="send it again",
)


@dataclass(frozen=True)
class Claimed:
    """A job that a worker is to do."""

    id: str
    owner: str
    request: JobRequest


class Work:
    """The jobs of a file as workers see them."""

    def __init__(self, file: JobsFile, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        """Jobs that ran when the last process ended wait again."""
        self.arrived = Event()
        self.naming = Lock()  # while it is held, nobody is called otherwise
        self.pace = 1.0  # seconds that a job takes its worker
        self._file = file
        self._limits = limits
        self._clock = clock
        self._steps: dict[str, tuple[int, int | None]] = {}
        self._held: set[str] = set()  # by workers
        self._turns: dict[str, int] = {}  # owner -> the last of all the claims that was theirs
        with file.transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting' WHERE state = 'running'")

    def claim(self) -> Claimed | None:
        """The next job that is not over and that no worker holds; this one does, until `let_go`.

        It is the oldest of the owner who has waited longest for a turn: nobody's many keep another's one waiting.
        """
        with self._file.transaction() as rows:
            free = "state IN ('waiting', 'running') AND id NOT IN (SELECT value FROM json_each(?))"
            held = json.dumps(list(self._held))
            given_up = rows.execute(
                f"UPDATE job SET state = 'failed', problem = ?, status = 500, expires = ? WHERE starts >= ? AND {free}",
                (_STOPPED_ITS_PROCESS.model_dump_json(), self._expiry(), STARTS, held),
            ).rowcount
            self._count_finished(State.FAILED, given_up)
            oldest = rows.execute(f"SELECT owner, min(number) FROM job WHERE {free} GROUP BY owner", (held,)).fetchall()
            if not oldest:
                self.arrived.clear()
                return None
            owner, number = min(oldest, key=lambda row: (self._turns.get(row[0], 0), row[1]))
            self._turns[owner] = 1 + max(self._turns.values(), default=0)
            id, settings = rows.execute(
                "UPDATE job SET state = 'running', starts = starts + 1 WHERE number = ? RETURNING id, request",
                (number,),
            ).fetchone()
            found = rows.execute("SELECT data FROM upload WHERE job = ? ORDER BY position", (number,)).fetchall()
            self._held.add(id)
        try:
            return Claimed(id, owner, JobRequest.of(settings, [data for (data,) in found]))
        except (ValueError, KeyError, TypeError):
            self.fail(id, _OF_ANOTHER_VERSION, 500)
            self.let_go(id)
            return None

    def let_go(self, id: str) -> None:
        """The worker has ended with a job, which another one may do if it is not over."""
        with self._file.lock:
            self._held.discard(id)
            self._steps.pop(id, None)

    def report(self, id: str, done: int, total: int | None) -> bool:
        """Note how far its worker is; whether the job is still wanted."""
        with self._file.lock:
            wanted = self._file.rows.execute("SELECT 1 FROM job WHERE id = ? AND state = 'running'", (id,)).fetchone()
            if wanted:
                self._steps[id] = (done, total)
        return bool(wanted)

    def steps(self, id: str) -> tuple[int, int | None]:
        """How far a job is: steps done, and in all once that is known."""
        return self._steps.get(id, (0, None))

    def release(self, id: str) -> None:
        """A job that was stopped through no fault of its own waits again, as if it had not been started."""
        with self._file.transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting', starts = starts - 1 WHERE id = ?", (id,))

    def finish(self, id: str, done: Done, seconds: float) -> None:
        """Keep a result with what it was made of; nothing, if the job was cancelled meanwhile.

        Raises OutputError where there is no room for it.
        """
        self.pace += 0.2 * (seconds - self.pace)
        made = (done.picture.data, done.picture.media_type, done.account.model_dump_json())
        layers = done.layers.model_dump_json()
        self._file.check_room(len(done.picture.data) + len(layers))
        with self._file.transaction() as rows:
            number = self._end(rows, id, State.DONE, "picture = ?, media_type = ?, account = ?", made)
            if number is not None:
                rows.execute("INSERT INTO layers VALUES (?, ?)", (number, layers))
        self._file.overwrite()

    def fail(self, id: str, problem: Problem, status: int) -> None:
        """Keep why a job failed, and the HTTP status that goes with it, and forget what was uploaded."""
        said = (problem.model_dump_json(), status)
        self._file.change(lambda rows: self._end(rows, id, State.FAILED, "problem = ?, status = ?", said))
        self.purge()

    def seconds_for(self, jobs: int) -> float:
        """How long the workers that are busy now take for so many jobs."""
        return jobs * self.pace / max(1, len(self._held))

    def purge(self) -> None:
        """Delete jobs whose time is over, and what was uploaded for those that failed."""
        over = "SELECT number FROM job WHERE expires < ?"
        failed = "SELECT DISTINCT job FROM upload JOIN job ON number = job WHERE state = 'failed'"
        for what, found, values in ((JOBS, over, (self._clock(),)), (UPLOADS, failed, ())):
            with self._file.lock:
                self._file.delete(what, [number for (number,) in self._file.rows.execute(found, values)])
        self._file.give_back()

    def count(self, state: State, owner: str | None = None) -> int:
        """How many jobs there are, of one owner or of all."""
        counted = "SELECT count(*) FROM job WHERE state = ? AND owner = coalesce(?, owner)"
        with self._file.lock:
            return self._file.rows.execute(counted, (state, owner)).fetchone()[0]

    def finished(self) -> dict[str, int]:
        """How many jobs were ever done, and how many failed; those that were cancelled are neither."""
        with self._file.lock:
            return dict(self._file.rows.execute("SELECT state, jobs FROM finished").fetchall())

    def _end(self, rows: sqlite3.Connection, id: str, state: State, what: str, values: tuple) -> int | None:
        """Within a transaction; the job's number, None if it was cancelled meanwhile."""
        (number,) = rows.execute(
            f"UPDATE job SET state = ?, {what}, expires = ? WHERE id = ? AND state = 'running' RETURNING number",
            (state, *values, self._expiry(), id),
        ).fetchone() or (None,)
        if number is not None:
            self._count_finished(state, 1)
        return number

    def _count_finished(self, state: State, jobs: int) -> None:
        """Within a transaction."""
        self._file.rows.execute(
            "INSERT INTO finished VALUES (?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs", (state, jobs)
        )

    def _expiry(self) -> float:
        return self._clock() + self._limits.keep_seconds
