"""Requests as others make them: by another method, with headers in several lines, uploads that find no room."""

import tempfile

import pytest

from faceref.app.server.jobs import _seconds


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
