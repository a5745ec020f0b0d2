"""Restoring over HTTP: the bytes that Python gives, for who waits, follows, cancels or comes again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageOps
from serving import FULLY, png, until

from faceref.app.server.api import create_app
from faceref.app.server.schema import State
from faceref.client import Client, ServerError


@pytest.fixture
def expected(restorer):
    """The bytes of a result, restored in Python."""
    return lambda photo, *references: restorer.restore(photo, references, FULLY).encode("PNG")[0]


def test_two_clients_at_once_get_what_each_would_get_alone(serve, expected, portrait, photo, reference):
    other = png(ImageOps.mirror(portrait.rotate(4)))
    wanted = [(photo, reference), (other, photo)]
    alone = [expected(*pictures) for pictures in wanted]
    http = serve()

    def restored(pictures):
        return Client(http=http).restore(pictures[0], [pictures[1]], options=FULLY)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(restored, wanted * 2))
    assert [one.data for one in results] == alone * 2
    assert alone[0] != alone[1]
    assert {one.media_type for one in results} == {"image/png"}
    assert results[0].account.faces[0].restored
    assert results[0].account.photo == "the picture"


def test_who_waits_gets_the_picture_itself(serve, expected, photo, reference):
    answer = serve().post(
        "/v1/restore",
        files=[("photo", ("../../etc/passwd", photo)), ("references", ("/x.png", reference))],
        data={"options": '{"always": true}'},
        headers={"Prefer": "respond-async, wait=60"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == expected(photo, reference)


def test_a_face_that_is_good_already_comes_back_as_it_came(client, photo, reference):
    restored = client.restore(photo, [reference])
    assert restored.data == photo
    assert restored.account.faces[0].left_alone


@pytest.mark.parametrize("strength", [0.3, 1])
def test_another_strength_is_what_restoring_with_it_gives(client, restorer, photo, reference, strength):
    job = client.submit(photo, [reference], options=FULLY)
    assert list(client.follow(job.id))[-1].state == State.DONE
    asked = FULLY.model_copy(update={"strength": strength})
    expected = restorer.restore(photo, [reference], asked).encode("PNG")[0]
    assert client.result(job.id, strength=strength) == (expected, "image/png")
    assert client.result(job.id, strength=0)[0] == photo


@pytest.fixture
def two(portrait) -> bytes:
    """A photograph of two faces, the second the smaller."""
    photo = Image.new("RGB", (2 * portrait.width, portrait.height), "gray")
    photo.paste(portrait)
    photo.paste(portrait.resize((200, 200)), (portrait.width + 20, 30))
    return png(photo)


def test_each_face_has_a_strength_of_its_own_and_that_is_what_restoring_with_it_gives(client, restorer, two):
    job = client.submit(two, options=FULLY)
    assert list(client.follow(job.id))[-1].state == State.DONE
    as_restored = client.result(job.id, keep=True)[0]
    for strength in ({1: 0.3, 2: 0.8}, {2: 0.8}):
        asked = FULLY.model_copy(update={"strength": strength})
        expected = restorer.restore(two, options=asked).encode("PNG")[0]
        assert client.result(job.id, strength=strength, keep=True) == (expected, "image/png")
        assert expected != as_restored
        assert client.restore(two, options=asked).data == expected
    assert client.result(job.id, strength={1: 0, 2: 0}, keep=True)[0] == two
    with pytest.raises(ServerError, match="Face 3 was not restored; restore it first") as missing:
        client.result(job.id, strength={3: 0.5})
    assert missing.value.status == 400


def test_a_result_that_was_refused_was_not_fetched_and_a_failed_job_is_not_left(serve, two, wall):
    client = Client(http=serve(fetched_seconds=0, kept=1))
    job = client.submit(two, options=FULLY)
    assert list(client.follow(job.id))[-1].state == State.DONE
    with pytest.raises(ServerError, match="Face 3 was not restored"):
        client.result(job.id, strength={3: 0.5})
    assert client.job(job.id).state == State.DONE
    client.cancel(job.id)
    for _ in range(2):
        with pytest.raises(ServerError, match="No face was found"):
            client.restore(wall)


def test_a_strength_that_is_none_is_named(serve, two):
    http = serve()
    id = Client(http=http).submit(two, options=FULLY).id
    for strength in ("2", "1:2", "one:0.5", "1:0.5,", "0:0.5", "half"):
        answer = http.get(f"/v1/jobs/{id}/result", params={"strength": strength})
        assert (answer.status_code, answer.json()["subject"]) == (400, "strength"), strength


def test_what_is_looked_at_is_kept_and_what_is_fetched_is_not(serve, photo, reference):
    http = serve(fetched_seconds=0)
    client = Client(http=http)
    id = client.submit(photo, [reference], options=FULLY).id
    assert list(client.follow(id))[-1].state == State.DONE
    seen = [client.result(id, keep=True)[0] for _ in range(2)]
    assert http.get(f"/v1/jobs/{id}/photo").content == photo
    assert http.get(f"/v1/jobs/{id}/references/1").content == reference
    assert http.get(f"/v1/jobs/{id}/references/2").json()["reason"] == "Reference 2 is not kept"
    assert [client.result(id)[0]] * 2 == seen
    until(lambda: http.get(f"/v1/jobs/{id}").status_code == 404)


def test_a_job_tells_how_far_it_is(serve, held, photo):
    client = Client(http=serve(by=held))
    running, waiting = client.submit(photo, options=FULLY), client.submit(photo, options=FULLY)
    assert held.begun.wait(60)
    assert (client.job(running.id).state, client.job(running.id).steps_done) == (State.RUNNING, 1)
    assert client.job(running.id).steps == 2
    assert (client.job(waiting.id).state, client.job(waiting.id).ahead) == (State.WAITING, 1)
    with pytest.raises(ServerError, match="not done yet") as early:
        client.result(waiting.id)
    assert early.value.status == 409
    held.go.set()
    assert list(client.follow(waiting.id))[-1].state == State.DONE


def test_a_cancelled_job_is_gone_and_the_next_is_done(serve, held, photo):
    client = Client(http=serve(by=held))
    running, waiting, last = (client.submit(photo, options=FULLY) for _ in range(3))
    assert held.begun.wait(60)
    client.cancel(waiting.id)
    client.cancel(running.id)
    held.go.set()
    assert list(client.follow(last.id))[-1].state == State.DONE
    for gone in (running, waiting):
        with pytest.raises(ServerError, match="no such job"):
            client.job(gone.id)


def test_a_server_that_is_stopped_goes_on_where_it_was(serve, held, photo, tmp_path):
    with TestClient(create_app(held, data_dir=tmp_path / "kept"), base_url="http://127.0.0.1") as http:
        job = Client(http=http).submit(photo, options=FULLY)
        assert held.begun.wait(60)
        threading.Timer(0.2, held.go.set).start()  # when the server is stopping
    client = Client(http=serve())
    assert list(client.follow(job.id))[-1].state == State.DONE


def test_a_request_that_is_sent_again_is_done_once(serve, held, photo, reference):
    client = Client(http=serve(by=held))
    first = client.submit(photo, options=FULLY, idempotency_key="a")
    assert client.submit(photo, options=FULLY, idempotency_key="a").id == first.id
    assert client.submit(photo, options=FULLY, idempotency_key="b").id != first.id
    with pytest.raises(ServerError, match="was given for another request") as taken:
        client.submit(reference, options=FULLY, idempotency_key="a")
    assert taken.value.status == 409


def test_a_request_is_the_same_job_whatever_its_people_are_called_since(serve, held, photo, reference):
    client = Client(http=serve(by=held))
    client.enroll("Eileen", [reference])

    def ask():
        return client.submit(photo, people=["Eileen"], options=FULLY, idempotency_key="a")

    first = ask()
    client.rename("Eileen", "Marie")
    assert ask().id == first.id
    client.remove("Marie")
    assert ask().id == first.id


def test_a_full_queue_says_when_to_come_again(serve, held, photo):
    client = Client(http=serve(by=held, waiting=1))
    client.submit(photo, options=FULLY)
    assert held.begun.wait(60)
    client.submit(photo, options=FULLY)
    with pytest.raises(ServerError, match="1 jobs are waiting already") as full:
        client.submit(photo, options=FULLY)
    assert (full.value.status, full.value.retry_after) == (429, 1)


def test_a_restoration_that_takes_too_long_is_ended(serve, photo):
    client = Client(http=serve(seconds=1e-6))
    with pytest.raises(ServerError, match="took longer than") as ended:
        client.restore(photo, options=FULLY)
    assert (ended.value.status, ended.value.code) == (422, "time")


@pytest.mark.parametrize(
    ("options", "subject"),
    [('{"strength": 2}', "strength"), ('{"cls": 1}', "cls"), ("[]", "options"), ("[" * 5000, "options")],
)
def test_wrong_options_are_named(serve, photo, options, subject):
    answer = serve().post("/v1/restore", files={"photo": photo}, data={"options": options})
    assert (answer.status_code, answer.json()["subject"]) == (400, subject)


def test_what_is_too_large_is_refused(serve, photo, reference):
    http = serve(megabytes=1, megapixels=0.05, references=3)

    def refused(*references: bytes, photo: bytes = photo) -> tuple[int, str]:
        with pytest.raises(ServerError) as error:
            Client(http=http).submit(photo, references)
        return error.value.status, error.value.reason

    assert refused() == (422, "has 0.0645 megapixels, and this server takes 0.05")
    assert refused(*[reference] * 4) == (400, "4 references are too many")
    assert refused(photo=bytes(2**20)) == (413, "The request is larger than 1 MB")


def test_a_picture_that_has_come_is_not_lost_by_its_job_being_gone(client, photo, monkeypatch):
    result = Client.result

    def fetched_and_forgotten(self, id):
        picture = result(self, id)
        self.cancel(id)
        return picture

    monkeypatch.setattr(Client, "result", fetched_and_forgotten)
    assert client.restore(photo, options=FULLY).account.faces[0].restored


@pytest.mark.parametrize("breaks", [None, httpx.RemoteProtocolError("peer closed connection"), 502])
def test_a_client_goes_on_where_a_stream_of_events_ends_early(client, photo, monkeypatch, breaks):
    follow, job, result = Client.follow, Client.job, Client.result
    away, lost = ([ServerError(httpx.Response(502)), httpx.ConnectError("refused")] if breaks else [] for _ in range(2))

    def followed(self, id):
        yield from islice(follow(self, id), 1)
        if breaks is not None:
            raise ServerError(httpx.Response(breaks)) if isinstance(breaks, int) else breaks

    def asked(self, id):
        if away:
            raise away.pop()
        return job(self, id)

    def fetched(self, id):
        if lost:
            raise lost.pop()
        return result(self, id)

    monkeypatch.setattr(Client, "follow", followed)
    monkeypatch.setattr(Client, "job", asked)
    monkeypatch.setattr(Client, "result", fetched)
    monkeypatch.setattr("faceref.client.PAUSE", 0)
    assert client.restore(photo, options=FULLY).account.faces[0].restored
    assert not away
    assert not lost


def test_a_server_that_stays_away_is_an_error_with_its_own_words(client, photo, monkeypatch):
    def lost(*_: object):
        raise httpx.ConnectError("refused")

    for name in ("follow", "job", "cancel"):
        monkeypatch.setattr(Client, name, lost)
    monkeypatch.setattr("faceref.client.PAUSE", 0)
    monkeypatch.setattr("faceref.client.PATIENCE", 0.1)
    with pytest.raises(httpx.ConnectError, match="refused"):
        client.restore(photo, options=FULLY)
