"""The one thread that restores: the oldest job first, with one model in memory, whatever comes."""

import logging
import time
import traceback
from threading import Event, Thread

from faceref.app.server.errors import status_of
from faceref.app.server.kept_people import KeptPeople
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture, encoded
from faceref.app.server.schema import Problem
from faceref.app.server.work import Claimed, Done, Work
from faceref.errors import FacerefError
from faceref.restore.layers import Layers
from faceref.restore.restorer import People, Restorer

log = logging.getLogger(__name__)
IDLE = 1.0  # seconds between two looks for what is to be deleted


class _StoppedError(Exception):
    """The job is not wanted any more, or the server ends."""


class Worker:
    """Does the work of a queue from `start` to `stop`."""

    def __init__(self, work: Work, restorer: Restorer, people: KeptPeople, limits: Limits) -> None:
        self.work = work
        self.restorer = restorer
        self.people = people
        self.limits = limits
        self._ending = Event()
        self._thread = Thread(target=self._work, name="faceref-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended; its job waits for the next start of the server."""
        self._ending.set()
        self.work.arrived.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                self.work.purge()
                if job := self.work.claim():
                    self._do(job)
                else:
                    self.work.arrived.wait(IDLE)
            except FacerefError as error:  # the disk is full: there may be room later
                log.error("The queue failed: %s", error.code)
                self._ending.wait(IDLE)

    def _do(self, job: Claimed) -> None:
        started = time.monotonic()
        try:
            done = self._restored(job, started)
            self.work.finish(job.id, done, time.monotonic() - started)
        except _StoppedError:
            if self._ending.is_set():
                self.work.release(job.id)
        except FacerefError as error:
            self.work.fail(job.id, Problem.of(error), status_of(error))
        except Exception as error:  # one request must not end the others
            where = "".join(traceback.format_tb(error.__traceback__))  # not what it says, which may name somebody
            log.error("A job failed with %s\n%s", type(error).__name__, where)
            self.work.fail(job.id, Problem.of(INTERNAL), status_of(INTERNAL))

    def _restored(self, job: Claimed, started: float) -> Done:
        request = job.request

        def on_step(done: int, total: int) -> None:
            if not self.work.report(job.id, done, total) or self._ending.is_set():
                raise _StoppedError
            if time.monotonic() - started > self.limits.seconds:
                raise FacerefError(
                    f"It took longer than {self.limits.seconds:g} seconds", hint="ask for fewer steps", code="time"
                )

        people: People = [self.people.get(job.owner, name) for name in request.people] or request.references
        result = self.restorer.restore(request.photo, people, request.options, on_step=on_step)
        account, layers = result.account(), Layers.of(result, request.options.colour)
        if not result.is_new:  # nothing was to be restored
            return Done(Picture.as_it_came(request.photo), layers, account)
        picture, left_out = encoded(result)
        account.warnings += left_out
        return Done(picture, layers, account)


INTERNAL = FacerefError("The server failed at this request", hint="its log says where", code="internal")
