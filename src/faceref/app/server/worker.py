"""A thread that takes jobs off the queue, the oldest first, and has an engine do them, whatever comes."""

import logging
from threading import Event, Thread

from faceref.app.server.engine import Attempt, Engine
from faceref.app.server.errors import status_of
from faceref.app.server.kept_people import KeptPeople
from faceref.app.server.limits import Limits
from faceref.app.server.restoring import Done, Failed, LostError, StoppedError, Task, outcome_of
from faceref.app.server.schema import Problem
from faceref.app.server.work import Claimed, Work
from faceref.errors import FacerefError, OutputError
from faceref.people.person import distinct

log = logging.getLogger(__name__)
IDLE = 1.0  # seconds between two looks for what is to be deleted


class Worker:
    """Does the work of a queue, beside others perhaps, from `start` to `stop`."""

    def __init__(self, work: Work, engine: Engine, people: KeptPeople, limits: Limits) -> None:
        self.work = work
        self.engine = engine
        self.people = people
        self.limits = limits
        self._ending = Event()
        self._reaches_engine = True
        self._thread = Thread(target=self._work, name="faceref-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Its job is to end at its next step, and waits for the next start of the server; see `join`."""
        self._ending.set()
        self.work.arrived.set()

    def join(self) -> None:
        """Returns when the thread has ended."""
        self._thread.join()

    @property
    def is_ready(self) -> bool:
        """Whether jobs are done."""
        return self._thread.is_alive() and self._reaches_engine

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                self.work.purge()
                with self.work.naming:
                    job = self.work.claim()
                    task = job and outcome_of(lambda job=job: self._task(job))
                if job and task:
                    self._do(job, task)
                else:
                    self.work.arrived.wait(IDLE)
            except FacerefError as error:  # the disk is full: there may be room later
                log.error("The queue failed: %s", error.code)
                self._ending.wait(IDLE)

    def _do(self, job: Claimed, task: Task | Failed) -> None:
        attempt = Attempt(self.work, job.id, self.limits.seconds, self._ending)
        try:
            outcome = task if isinstance(task, Failed) else outcome_of(lambda: self._restored(task, attempt))
            self._keep(job, outcome, attempt.seconds or 0)
        except StoppedError:
            if self._ending.is_set():
                self.work.release(job.id)
        except LostError as error:
            log.error("What restores was lost: %s", error)
            if attempt.seconds is None:  # it is not this job's fault
                self._reaches_engine = False
                self.work.release(job.id)
                self._ending.wait(IDLE)
        finally:
            self.work.let_go(job.id)

    def _restored(self, task: Task, attempt: Attempt) -> Done | Failed:
        try:
            return self.engine.restore(task, attempt)
        finally:  # before the job is seen to be over
            self._reaches_engine |= attempt.seconds is not None

    def _task(self, job: Claimed) -> Task:
        """Raises UsageError if a person is not enrolled any more, or somebody else is by that name."""
        asked, called = job.request, self.people.called
        known = zip(asked.people, asked.photographs_of, strict=False)
        request = asked.renamed({name: called(job.owner, name, photographs) for name, photographs in known})
        people = tuple(self.people.get(job.owner, name) for name in distinct(request.people))
        request.check_people(people)
        return Task(request.photo, people or request.references, request.options)

    def _keep(self, job: Claimed, outcome: Done | Failed, seconds: float) -> None:
        match outcome:
            case Done():
                try:
                    self.work.finish(job.id, outcome, seconds)
                except OutputError as error:  # there is no room for a picture; for this there may be
                    self.work.fail(job.id, Problem.of(error), status_of(error))
            case Failed(problem, status, trace):
                if trace is not None:
                    log.error("A job failed with %s", trace)
                self.work.fail(job.id, problem, status)
