"""Requests as others make them: by another method, with headers in several lines, uploads that find no room."""

import io
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2 as httpx
import pytest
from PIL import Image
from serving import FULLY, HeldDetector, listening, png, until

from faceref import Restorer
from faceref.app.server.api import create_app
from faceref.app.server.jobs import _seconds
from faceref.app.server.limits import Limits
from faceref.app.server.schema import State, read_options
from faceref.client import Client, ServerError
from faceref.errors import UsageError
from faceref.people.library import Library


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("HEAD", "/", 200),
        ("GET", "/", 200),
        ("GET", "/script/main.js", 200),
        ("GET", "/nothing", 404),
        ("POST", "/v1/nothing", 404),
        ("DELETE", "/nothing", 404),
        ("PUT", "/v1/people", 405),
        ("POST", "/v1/jobs/a", 405),
        ("POST", "/script/main.js", 405),
        ("GET", "/%00", 404),
        ("POST", f"/{'a' * 300}", 404),
        ("GET", f"/{'a/' * 3000}", 404),
    ],
)
def test_what_is_not_there_is_not_found_and_another_method_is_one(serve, method, path, status):
    assert serve().request(method, path).status_code == status


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        (["respond-async", "wait=50"], 50),
        (["wait=50; x=1, respond-async"], 50),
        (['respond-async, Wait = "50" ;x'], 50),
        (["wait=soon"], 0),
        (["x=wait=50"], 0),
    ],
)
def test_how_long_to_wait_is_heard_in_all_its_forms(prefer, seconds):
    assert _seconds(prefer) == seconds


@pytest.mark.parametrize(
    ("path", "sent", "said"),
    [
        ("restore", {"data": {"photo": "old.jpg"}}, ("photo", "is no file", "send one: with curl, -F photo=@NAME")),
        (
            "restore",
            {"files": {"photo": b"1"}, "data": {"references": ["a.jpg"]}},
            ("references", "is no file", "send one: with curl, -F references=@NAME"),
        ),
        ("people/Eileen/merge", {"json": {}}, ("other", "cannot be used: Field required", None)),
        (
            "people/Eileen/merge",
            {"content": b"{'", "headers": {"Content-Type": "application/json"}},
            ("body", "cannot be used: JSON decode error", None),
        ),
        (
            "people/Eileen/merge",
            {"content": b'{"other": "Ruth"}', "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            ("body", "is no JSON object", "send one, with the header Content-Type: application/json"),
        ),
    ],
)
def test_what_is_of_another_kind_is_said_by_its_fields_name(serve, path, sent, said):
    answer = serve().post(f"/v1/{path}", **sent)
    assert answer.status_code == 422
    assert tuple(answer.json()[part] for part in ("subject", "reason", "hint")) == said


@pytest.mark.parametrize("name", ["face", "max_refs", "steps", "guidance", "seed", "crisp", "strength"])
def test_true_is_no_number(name: str):
    assert read_options(f'{{"{name}": 1}}').model_dump()[name] == 1
    with pytest.raises(UsageError, match=rf"^{name} cannot be used: .*\.$"):
        read_options(f'{{"{name}": true}}')


@pytest.mark.parametrize("of_faces", ['{"by_hand": [{"face": true, "become": "skip"}]}', '{"strength": {"1": true}}'])
def test_nor_is_it_one_where_it_is_said_of_single_faces(of_faces: str):
    with pytest.raises(UsageError, match="cannot be used"):
        read_options(of_faces)


def test_a_body_that_nobody_asked_for_is_no_failure_of_the_server(serve, photo, caplog):
    http = serve(megabytes=1)
    job = http.post("/v1/restore", files={"photo": photo}).json()["id"]
    until(lambda: http.get(f"/v1/jobs/{job}").json()["state"] == State.DONE)
    look = {"strength": 0.5, "keep": True}
    assert http.request("GET", f"/v1/jobs/{job}/result", params=look, content=bytes(2**21)).status_code < 500
    assert not any("failed with" in line for line in caplog.messages)


def test_a_preference_in_the_second_of_two_lines_is_heard(serve, wall):
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=60")]
    assert serve().post("/v1/restore", files={"photo": wall}, headers=headers).json()["code"] == "no_face"


def test_an_upload_for_which_there_is_no_room_is_no_fault_of_the_request(serve, caplog, monkeypatch):
    def full(*_: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    answer = serve().post("/v1/preview", files={"photo": bytes(2**21)})
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert "An upload cannot be kept: [Errno 28] No space left on device" in caplog.messages


@contextmanager
def held_at(restorer, folder, at: int, **limits: float) -> Iterator[tuple[HeldDetector, str]]:
    """A server that waits at a picture, and where it listens."""
    detector = HeldDetector(restorer.detector, at)
    by = Restorer(restorer.model, detector=detector, recogniser=restorer.recogniser)
    with listening(create_app(by, data_dir=folder / "kept", limits=Limits.model_validate(limits))) as address:
        try:
            yield detector, address
        finally:
            detector.go.set()


def given_up(address: str, path: str, **form: object) -> None:
    """A request whose client goes after a while."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{address}{path}", timeout=0.3, **form)  # type: ignore[arg-type]


def test_who_goes_while_they_wait_for_their_turn_leaves_the_line(restorer, tmp_path, photo, reference):
    with held_at(restorer, tmp_path, 1, waiting=3) as (detector, address), Client(address) as client:
        first = threading.Thread(target=lambda: client.faces(photo))
        first.start()
        assert detector.begun.wait(60)
        for _ in range(5):
            given_up(address, "/v1/faces", files={"photo": photo})
        given_up(address, "/v1/people", files={"photos": reference}, data={"name": "Eileen"})
        detector.go.set()
        first.join()
        assert client.faces(photo).faces
        assert detector.pictures == 2
        assert client.people() == []


def test_for_who_goes_in_the_middle_no_more_photographs_are_read(restorer, tmp_path, photo, portrait):
    with held_at(restorer, tmp_path, 2) as (detector, address), Client(address) as client:
        references = [png(portrait.resize((side, side), Image.Resampling.BICUBIC)) for side in (300, 310, 320)]
        files = [("photo", photo), *(("references", one) for one in references)]
        given_up(address, "/v1/faces", files=files)
        detector.go.set()
        assert client.faces(photo).faces
        assert detector.pictures == 3  # the photograph, one reference, and the photograph of the second request


def test_what_is_cut_off_by_the_servers_end_goes_no_further(restorer, tmp_path, photo, reference):
    detector = HeldDetector(restorer.detector, 1)
    by = Restorer(restorer.model, detector=detector, recogniser=restorer.recogniser)
    form = {"data": {"name": "Eileen"}, "files": [("photos", photo), ("photos", reference)]}
    with ThreadPoolExecutor() as threads, listening(create_app(by, data_dir=tmp_path / "kept")) as address:
        asked = threads.submit(httpx.post, f"{address}/v1/people", timeout=60, **form)
        assert detector.begun.wait(60)
        reading = [thread for thread in threading.enumerate() if thread.name.startswith("AnyIO")]
    assert asked.result().json()["code"] == "stopping"
    detector.go.set()
    for thread in reading:  # for which the process would wait
        thread.join(60)
    assert detector.pictures == 1
    assert Library(tmp_path / "kept").everybody() == []


def test_photographs_are_added_to_whom_they_were_sent_for_whatever_they_are_called_meanwhile(
    restorer, tmp_path, photo, reference
):
    turned = png(Image.open(io.BytesIO(reference)).rotate(4))
    with held_at(restorer, tmp_path, 3) as (detector, address), Client(address) as client:
        client.enroll("Eileen", reference)
        client.enroll("Collins", photo)
        with ThreadPoolExecutor() as threads:
            added = threads.submit(client.add, "Eileen", turned)
            assert detector.begun.wait(60)
            client.rename("Eileen", "Marie")
            client.rename("Collins", "Eileen")
            detector.go.set()
        assert (added.result().new, added.result().references) == (1, 2)
        assert {one.name: one.references for one in client.people()} == {"Eileen": 1, "Marie": 2}


def test_a_result_for_which_nobody_waits_any_more_is_not_fetched(held, tmp_path, photo):
    app = create_app(held, data_dir=tmp_path / "kept", limits=Limits(fetched_seconds=0))
    form = {"files": {"photo": photo}, "data": {"options": FULLY.model_dump_json()}}
    with listening(app) as address, Client(address) as client:
        given_up(address, "/v1/restore", headers={"Prefer": "wait=60", "Idempotency-Key": "a"}, **form)
        job = client.submit(photo, options=FULLY, idempotency_key="a")
        held.go.set()
        assert list(client.follow(job.id))[-1].state == State.DONE
        answered = 'faceref_request_seconds_count{route="/v1/restore"} 2.0'
        until(lambda: answered in httpx.get(f"{address}/metrics").text)
        assert client.result(job.id)[1] == "image/png"


def test_looking_for_faces_has_an_end(restorer, tmp_path, photo, reference):
    with held_at(restorer, tmp_path, 1, seconds=0.001) as (detector, address), Client(address) as client:
        detector.go.set()
        with pytest.raises(ServerError, match="seconds; give fewer or smaller photographs") as ended:
            client.faces(photo, [reference])
        assert (ended.value.status, ended.value.code) == (422, "time")
