"""Who follows a job hears of each change at once, and costs nothing while there is none."""

import time
from concurrent.futures import ThreadPoolExecutor

from serving import FULLY

from faceref.app.server.queue import JobQueue
from faceref.app.server.schema import State
from faceref.client import Client


def test_jobs_are_read_when_they_change_and_not_while_they_do_not(serve, held, photo, monkeypatch):
    client = Client(http=serve(by=held))
    get, reads = JobQueue.get, []

    def counted(self, owner, id):
        reads.append(id)
        return get(self, owner, id)

    monkeypatch.setattr(JobQueue, "get", counted)
    with ThreadPoolExecutor(2) as threads:
        first, second = (client.submit(photo, options=FULLY) for _ in range(2))
        followed = [threads.submit(lambda id=job.id: list(client.follow(id))) for job in (first, second)]
        held.begun.wait(60)
        time.sleep(0.3)  # each has read what the beginning has changed
        reads.clear()
        time.sleep(1.5)
        in_peace = len(reads)
        held.go.set()
        (*_, last), waited = (one.result() for one in followed)
    assert in_peace <= 6, "twenty times a second would be sixty"
    assert last.state == State.DONE
    assert (waited[0].state, waited[0].ahead) == (State.WAITING, 1)
    assert list(dict.fromkeys(job.state for job in waited))[1:] == [State.RUNNING, State.DONE]


def test_a_change_is_heard_of_at_once(serve, held, photo):
    client = Client(http=serve(by=held))
    job = client.submit(photo, options=FULLY)
    held.begun.wait(60)
    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(lambda: (list(client.follow(job.id)), time.monotonic()))
        time.sleep(0.5)
        client.cancel(job.id)
        cancelled = time.monotonic()
        heard = ended.result()[1]
    assert heard - cancelled < 0.5, "before the next look that comes in any case"
