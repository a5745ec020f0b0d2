"""Several workers on one queue, and engines that end in the middle: each job is done once, by whoever is left."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import FULLY, HeldDetector, HeldRestorer, png, until

from faceref import Restorer
from faceref.app.server import worker
from faceref.app.server.api import create_app
from faceref.app.server.engine import LocalEngine, local_engines
from faceref.app.server.restoring import LostError
from faceref.app.server.schema import State
from faceref.client import Client, ServerError
from faceref.compute import Compute
from faceref.errors import OutputError


class MortalEngine(LocalEngine):
    """Is lost each time that it is asked, before or after it begins, until it has been as often as it is told."""

    def __init__(self, restorer, times: int, *, begins: bool) -> None:
        super().__init__(restorer)
        self.times = times
        self.begins = begins

    def restore(self, task, attempt):
        if self.times > 0:
            self.times -= 1
            if self.begins:
                attempt.begin()
            raise LostError("killed")
        return super().restore(task, attempt)


@pytest.fixture
def serve(restorer, tmp_path, monkeypatch) -> Iterator[Callable[..., TestClient]]:
    """`serve(engine, ...)`: a running server with a worker for each of these engines."""
    monkeypatch.setattr(worker, "IDLE", 0.02)
    with ExitStack() as stack:

        def started(*engines: LocalEngine) -> TestClient:
            app = create_app(restorer, data_dir=tmp_path / "kept", engines=engines)
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield started


def test_two_workers_do_two_jobs_at_once_and_each_job_once(serve, restorer, photo, reference):
    first, second = HeldRestorer(restorer), HeldRestorer(restorer)
    client = Client(http=serve(LocalEngine(first), LocalEngine(second)))
    options = [FULLY.model_copy(update={"seed": seed}) for seed in range(4)]
    jobs = [client.submit(photo, [reference], options=one) for one in options]
    assert first.begun.wait(60)
    assert second.begun.wait(60)
    states = [client.job(job.id).state for job in jobs]
    assert states == [State.RUNNING] * 2 + [State.WAITING] * 2
    assert client.job(jobs[3].id).ahead == 3
    first.go.set()
    second.go.set()
    until(lambda: all(client.job(job.id).state == State.DONE for job in jobs))
    expected = [restorer.restore(photo, [reference], one).encode("PNG")[0] for one in options]
    assert [client.result(job.id)[0] for job in jobs] == expected


def test_a_job_whose_engine_is_lost_is_done_again(serve, restorer, photo):
    client = Client(http=serve(MortalEngine(restorer, 2, begins=True)))
    restored = client.restore(photo, options=FULLY)
    assert restored.data == restorer.restore(photo, options=FULLY).encode("PNG")[0]


def test_a_result_for_which_there_is_no_room_fails_and_says_so(serve, restorer, photo, monkeypatch):
    http = serve(LocalEngine(restorer))
    work = http.app.state.service.queue.work

    def full(*_):
        raise OutputError("The queue cannot be written (database or disk is full)", hint="free some space")

    monkeypatch.setattr(work, "finish", full)
    with pytest.raises(ServerError, match="The queue cannot be written"):
        Client(http=http).restore(photo, options=FULLY)
    monkeypatch.undo()
    assert Client(http=http).restore(photo, options=FULLY).account.faces[0].restored


def test_a_job_that_ends_its_engine_again_and_again_fails_and_the_next_is_done(serve, restorer, photo, caplog):
    client = Client(http=serve(MortalEngine(restorer, 3, begins=True)))
    jobs = [client.submit(photo, options=FULLY) for _ in range(2)]
    until(lambda: all(client.job(job.id).is_over for job in jobs))
    assert "stopped 3 times" in str(client.job(jobs[0].id).problem)
    assert client.job(jobs[1].id).state == State.DONE
    assert caplog.messages.count("What restores was lost: killed") == 3


def test_a_job_waits_for_an_engine_that_cannot_be_reached(serve, restorer, photo):
    engine = MortalEngine(restorer, 10**9, begins=False)
    client = Client(http=(http := serve(engine)))
    assert http.get("/readyz").status_code == 200
    job = client.submit(photo, options=FULLY)
    until(lambda: http.get("/readyz").status_code == 503)
    until(lambda: engine.times < 10**9 - 5)  # more than a job is started
    engine.times = 0
    until(lambda: client.job(job.id).state == State.DONE)
    assert http.get("/readyz").status_code == 200


def test_workers_of_one_device_share_a_model(tiny_model):
    first, second, other = local_engines(str(tiny_model), [Compute("cpu"), Compute("cpu"), Compute("cpu", "bfloat16")])
    assert first is second
    assert first is not other


def test_a_job_that_is_cancelled_while_its_references_are_read_reads_no_more(serve, restorer, photo, portrait):
    detector = HeldDetector(restorer.detector, at=2)
    client = Client(
        http=serve(LocalEngine(Restorer(restorer.model, detector=detector, recogniser=restorer.recogniser)))
    )
    references = [png(portrait.resize((side, side), Image.Resampling.BICUBIC)) for side in (300, 310, 320)]
    job = client.submit(photo, references, options=FULLY)
    assert detector.begun.wait(60)
    client.cancel(job.id)
    detector.go.set()
    last = client.submit(photo, options=FULLY)
    assert list(client.follow(last.id))[-1].state == State.DONE
    assert detector.pictures == 3  # the photograph, one reference, and the last job's photograph
