"""The worker's side of the queue: which job is next, how far it is, and that it is over once and for all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from faceref.app.server.jobs_file import JobsFile
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.request import JobRequest
from faceref.app.server.schema import Problem, State
from faceref.restore.account import Account
from faceref.restore.layers import Layers

STARTS = 3  # a job that the process has died of so many times is not tried again
_STOPPED_THE_SERVER = Problem(
    code="internal", subject=None, reason=f"The server stopped {STARTS} times while it did this job", hint=None
)


@dataclass(frozen=True)
class Claimed:
    """A job that a worker is to do."""

    id: str
    owner: str
    request: JobRequest


@dataclass(frozen=True)
class Done:
    """What a worker has made of a job; layers: to show it at another strength."""

    picture: Picture
    layers: Layers
    account: Account


class Work:
    """The jobs of a file as workers see them."""

    def __init__(self, file: JobsFile, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        """Jobs that ran when the last process ended wait again."""
        self.arrived = Event()
        self.pace = 1.0  # seconds that a job takes
        self._file = file
        self._limits = limits
        self._clock = clock
        self._steps: dict[str, tuple[int, int]] = {}
        with file.transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting' WHERE state = 'running'")

    def claim(self) -> Claimed | None:
        """The oldest job, for the worker to do: there is one, so that what runs is what it could not finish."""
        with self._file.transaction() as rows:
            self.arrived.clear()
            given_up = rows.execute(
                "UPDATE job SET state = 'failed', problem = ?, status = 500, expires = ? "
                "WHERE state IN ('waiting', 'running') AND starts >= ?",
                (_STOPPED_THE_SERVER.model_dump_json(), self._expiry(), STARTS),
            ).rowcount
            self._count_finished(State.FAILED, given_up)
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
        with self._file.lock:
            wanted = self._file.rows.execute("SELECT 1 FROM job WHERE id = ? AND state = 'running'", (id,)).fetchone()
            if wanted:
                self._steps[id] = (done, total)
        return bool(wanted)

    def steps(self, id: str) -> tuple[int, int | None]:
        """How far a job is: steps done, and in all once that is known."""
        return self._steps.get(id, (0, None))

    def release(self, id: str) -> None:
        """A job that the server stops in the middle of waits again, as if it had not been started."""
        with self._file.transaction() as rows:
            rows.execute("UPDATE job SET state = 'waiting', starts = starts - 1 WHERE id = ?", (id,))

    def forget(self, id: str) -> None:
        """A job that was cancelled is on no step any more."""
        self._steps.pop(id, None)

    def finish(self, id: str, done: Done, seconds: float) -> None:
        """Keep a result with its photograph and forget the references; nothing, if the job was cancelled meanwhile."""
        self.pace += 0.2 * (seconds - self.pace)
        made = (done.picture.data, done.picture.media_type, done.account.model_dump_json())
        self._end(id, State.DONE, "picture = ?, media_type = ?, account = ?", made, done.layers)

    def fail(self, id: str, problem: Problem, status: int) -> None:
        """Keep why a job failed, and the HTTP status that goes with it, and forget what was uploaded."""
        self._end(id, State.FAILED, "problem = ?, status = ?", (problem.model_dump_json(), status))

    def purge(self) -> None:
        """Delete results whose time is over."""
        with self._file.transaction() as rows:
            gone = rows.execute("DELETE FROM job WHERE expires < ?", (self._clock(),)).rowcount
        if gone:
            self._file.overwrite()

    def count(self, state: State) -> int:
        with self._file.lock:
            return self._file.rows.execute("SELECT count(*) FROM job WHERE state = ?", (state,)).fetchone()[0]

    def finished(self) -> dict[str, int]:
        """How many jobs were ever done, and how many failed; those that were cancelled are neither."""
        with self._file.lock:
            return dict(self._file.rows.execute("SELECT state, jobs FROM finished").fetchall())

    def _end(self, id: str, state: State, what: str, values: tuple, layers: Layers | None = None) -> None:
        with self._file.transaction() as rows:
            ended = rows.execute(
                f"UPDATE job SET state = ?, {what}, expires = ? WHERE id = ? AND state = 'running' RETURNING number",
                (state, *values, self._expiry(), id),
            ).fetchone()
            if ended is not None:
                self._count_finished(state, 1)
                if layers is not None:
                    rows.execute("INSERT INTO layers VALUES (?, ?)", (*ended, layers.model_dump_json()))
                rows.execute("DELETE FROM upload WHERE job = ? AND (position > 0 OR ?)", (*ended, layers is None))
            self._steps.pop(id, None)
        self._file.overwrite()

    def _count_finished(self, state: State, jobs: int) -> None:
        """Within a transaction."""
        self._file.rows.execute(
            "INSERT INTO finished VALUES (?, ?) ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs", (state, jobs)
        )

    def _expiry(self) -> float:
        return self._clock() + self._limits.keep_seconds
