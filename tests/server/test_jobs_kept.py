"""The queue's file: what was accepted is finished once, whatever ends the process; nothing stays for too long."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from threading import Event, Thread, current_thread

import pytest

from faceref.app.server.errors import RefusedError
from faceref.app.server.jobs_file import FILE
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.queue import JobQueue
from faceref.app.server.request import JobRequest
from faceref.app.server.restoring import Done
from faceref.app.server.schema import Problem, State
from faceref.app.server.work import STARTS
from faceref.errors import CheckpointError, OutputError
from faceref.restore.account import Account
from faceref.restore.layers import Layers
from faceref.restore.options import RestoreOptions

REQUEST = JobRequest(b"a photograph", (b"a reference",), ("Eileen",), RestoreOptions(seed=3))
ACCOUNT = Account(photo="the picture", faces=[], references_left_out=[], warnings=[], seconds={}, version="1")
DONE = Done(Picture(b"a result", "image/png"), Layers(faces=[], colour="keep", metadata={}), ACCOUNT)


@pytest.fixture
def opened(tmp_path):
    """`opened()`: the queue of one folder, by a clock that is set by hand."""
    queues = []

    def again(**limits: float) -> JobQueue:
        for queue in queues:
            queue.close()
        queues.append(JobQueue(tmp_path, Limits.model_validate(limits), clock=lambda: again.now))
        return queues[-1]

    again.now = 0.0
    yield again
    queues[-1].close()


def do_next(queue: JobQueue) -> str:
    job = queue.work.claim()
    assert job is not None
    queue.work.finish(job.id, DONE, 1)
    queue.work.let_go(job.id)
    return job.id


def test_nobodys_many_jobs_keep_another_one_waiting_or_out(opened):
    queue = opened(waiting=3)
    many = [queue.submit("many", REQUEST).id for _ in range(3)]
    with pytest.raises(RefusedError, match="3 jobs are waiting already"):
        queue.submit("many", REQUEST)
    few = queue.submit("few", REQUEST).id
    assert queue.get("few", few).ahead == 1
    assert [queue.get("many", id).ahead for id in many] == [1, 2, 3]
    assert [do_next(queue) for _ in range(4)] == [many[0], few, many[1], many[2]]


def test_what_is_over_its_time_takes_no_room_and_no_key_while_workers_are_busy(opened):
    queue = opened(kept=2, keep_seconds=10)
    first = queue.submit("me", REQUEST, key="once").id
    do_next(queue)
    queue.submit("me", REQUEST)
    queue.work.claim()  # and takes long
    opened.now = 11
    with pytest.raises(RefusedError, match="There is no such job"):
        queue.get("me", first)
    assert queue.submit("me", REQUEST, key="once").id != first


@pytest.mark.parametrize("ask", ["submit", "accepted"])
def test_a_key_that_is_given_while_its_job_is_being_cancelled_is_that_jobs(opened, monkeypatch, ask):
    queue = opened()
    id = queue.submit("me", REQUEST, key="once").id
    answered, purge = Event(), queue.work.purge
    cancelling = Thread(target=queue.discard, args=("me", id))

    def held() -> None:
        if current_thread() is cancelling:  # it is cancelled, and not deleted yet
            answered.wait(60)
        purge()
        if cancelling.ident is None:
            cancelling.start()
            cancelling.join(0.5)  # until it is held, or has to wait for the answer

    monkeypatch.setattr(queue.work, "purge", held)
    try:
        assert getattr(queue, ask)("me", REQUEST, key="once").id == id
    finally:
        answered.set()
        cancelling.join()
    assert queue.accepted("me", REQUEST, "once") is None


def test_accepted_jobs_are_done_in_order_by_the_next_process(opened):
    queue = opened()
    ids = [queue.submit("me", REQUEST).id for _ in range(3)]
    assert do_next(queue) == ids[0]
    assert queue.work.claim().id == ids[1]  # and the process ends
    queue = opened()
    claimed = queue.work.claim()
    assert (claimed.id, claimed.owner, claimed.request) == (ids[1], "me", REQUEST)
    queue.work.release(ids[1])
    queue.work.let_go(ids[1])
    assert [do_next(queue), do_next(queue)] == ids[1:]
    assert queue.work.claim() is None


def test_a_job_that_ends_every_process_fails_at_last(opened):
    queue = opened()
    id = queue.submit("me", REQUEST).id
    for _ in range(STARTS):
        assert queue.work.claim().id == id
        queue = opened()
    assert queue.work.claim() is None
    assert "stopped 3 times" in queue.get("me", id).problem.reason


def test_a_job_that_this_version_cannot_read_fails_and_the_next_is_done(opened):
    queue = opened()
    first, second = (queue.submit("me", REQUEST).id for _ in range(2))
    with queue._file.transaction() as rows:
        rows.execute("UPDATE job SET request = replace(request, 'seed', 'sowing') WHERE id = ?", (first,))
    assert queue.work.claim() is None
    assert "cannot be read by this one" in queue.get("me", first).problem.reason
    assert do_next(queue) == second


def test_a_result_is_gone_when_its_time_is_over_whatever_the_workers_do(opened):
    queue = opened(fetched_seconds=60)
    id = queue.submit("me", REQUEST).id
    do_next(queue)
    queue.fetched("me", id)
    assert queue.result("me", id) == DONE.picture
    opened.now += 61
    with pytest.raises(RefusedError, match="no such job"):
        queue.result("me", id)


def test_a_job_that_a_full_disk_keeps_from_its_end_is_done_again(opened):
    queue = opened()
    id = queue.submit("me", REQUEST).id
    queue.work.claim()
    (pages,) = queue._file.rows.execute("PRAGMA page_count").fetchone()
    queue._file.rows.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="free some space"):
        queue.work.finish(id, replace(DONE, picture=Picture(bytes(10**6), "image/png")), 1)
    queue.work.let_go(id)
    queue._file.rows.execute(f"PRAGMA max_page_count = {10**6}")
    assert do_next(queue) == id
    assert queue.get("me", id).state == State.DONE


def test_a_cancelled_job_stays_cancelled_when_its_result_comes(opened):
    queue = opened()
    id = queue.submit("me", REQUEST).id
    queue.work.claim()
    assert queue.work.report(id, 1, 2)
    queue.discard("me", id)
    assert not queue.work.report(id, 2, 2)
    queue.work.finish(id, DONE, 1)
    with pytest.raises(RefusedError, match="no such job"):
        queue.get("me", id)


def test_results_go_after_they_were_fetched_or_when_their_time_is_over(opened):
    queue = opened(keep_seconds=100, fetched_seconds=10)
    fetched, left = (queue.submit("me", REQUEST).id for _ in range(2))
    for _ in range(2):
        do_next(queue)
    assert queue.result("me", fetched).data == b"a result"
    queue.fetched("me", fetched)
    opened.now = 9
    queue.work.purge()
    assert queue.result("me", fetched).data == b"a result"  # a download that broke off
    opened.now = 11
    queue.work.purge()
    with pytest.raises(RefusedError, match="no such job"):
        queue.result("me", fetched)
    assert queue.get("me", left).state == State.DONE
    opened.now = 101
    queue.work.purge()
    with pytest.raises(RefusedError, match="no such job"):
        queue.get("me", left)


def test_nothing_of_a_job_stays_in_the_files(opened, tmp_path):
    def kept(what: bytes) -> bool:
        return any(what in path.read_bytes() for path in tmp_path.iterdir())

    queue = opened()
    id = queue.submit("me", REQUEST).id
    assert kept(b"a photograph")
    do_next(queue)
    assert kept(b"a photograph")  # for other strengths
    assert kept(b"a reference")  # for who restores it once more, after the page was loaded again
    assert kept(b"a result")
    queue.discard("me", id)
    assert not kept(b"a reference")
    assert not kept(b"a photograph")
    assert not kept(b"a result")
    assert not kept(b"Eileen")
    failed = queue.submit("me", REQUEST).id
    queue.work.claim()
    queue.work.fail(failed, Problem(code="x", subject=None, reason="x", hint=None), 500)
    assert not kept(b"a reference")


def test_one_owner_may_keep_so_many_results(opened):
    queue = opened(kept=2, keep_seconds=10)
    for _ in range(2):
        queue.submit("me", REQUEST)
    with pytest.raises(RefusedError, match="2 of your jobs are kept") as waiting:
        queue.submit("me", REQUEST)
    assert not waiting.value.headers  # nobody knows when the first will be over
    do_next(queue)
    opened.now = 2
    do_next(queue)
    opened.now = 4.5
    with pytest.raises(RefusedError, match="2 of your jobs are kept") as refused:
        queue.submit("me", REQUEST)
    assert refused.value.headers == {"Retry-After": "6"}
    queue.submit("you", REQUEST)
    opened.now += 6
    assert queue.submit("me", REQUEST)


def test_jobs_of_another_version_are_refused_and_stay(opened, tmp_path):
    queue = opened()
    queue.submit("me", REQUEST)
    queue._file.rows.execute("PRAGMA user_version = 2")
    with pytest.raises(CheckpointError, match="holds jobs in the form 2, and this version of faceref reads 1; let the"):
        opened()
    with closing(sqlite3.connect(tmp_path / FILE)) as rows:
        rows.execute("PRAGMA user_version = 1")
    assert do_next(opened())


def test_what_was_finished_is_counted_across_processes(opened):
    queue = opened()
    for _ in range(3):
        queue.submit("me", REQUEST)
    do_next(queue)
    queue.work.fail(queue.work.claim().id, Problem(code="x", subject=None, reason="x", hint=None), 500)
    queue.discard("me", queue.work.claim() and queue.submit("me", REQUEST).id)
    assert opened().work.finished() == {State.DONE: 1, State.FAILED: 1}


def test_a_second_server_is_kept_off(opened, tmp_path):
    opened()
    with pytest.raises(OutputError, match="stop the other server"):
        JobQueue(tmp_path, Limits())
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
