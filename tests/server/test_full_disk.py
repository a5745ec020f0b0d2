"""A disk that is full: what is kept is still shown, cancelled and deleted, and jobs say what they failed of."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from serving import until
from test_jobs_kept import DONE, REQUEST

from faceref.app.server.api import create_app
from faceref.app.server.jobs_file import FILE, RESERVE
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.queue import JobQueue
from faceref.app.server.schema import Problem, State
from faceref.client import Client, ServerError
from faceref.errors import OutputError
from faceref.people.library import Library

MEGABYTE = 1 << 20
PHOTO = secrets.token_bytes(6 * MEGABYTE)  # more than the reserve
REFERENCE = secrets.token_bytes(MEGABYTE)
LARGE = replace(REQUEST, photo=PHOTO, references=(REFERENCE,))


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """The folder of a disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("There is no mount on this system.")
    if done.returncode:
        pytest.skip("Only root may mount a small disk to fill.")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, queue: JobQueue | None = None) -> Path:
    """A file that takes all that is free; the log of changes has no room to spare either."""
    if queue is not None:
        queue._file.overwrite()
    other = folder / "other"
    with other.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return other


def kept(folder: Path, what: bytes) -> bool:
    """Whether any part of a large value lies in the files."""
    parts = [what[start : start + 200] for start in range(1000, len(what), 50_000)]
    found = b"".join(path.read_bytes() for path in folder.iterdir() if path.name != "other")
    return any(part in found for part in parts)


@pytest.fixture
def clock() -> list[float]:
    """The time by which a queue goes."""
    return [0.25]


@pytest.fixture
def queue(disk, clock) -> Iterator[JobQueue]:
    queue = JobQueue(disk, Limits(fetched_seconds=0, keep_seconds=100), clock=lambda: clock[0])
    yield queue
    queue.close()


def test_what_is_cancelled_is_overwritten_also_where_the_disk_is_full(disk, queue):
    id = queue.submit("me", LARGE).id
    queue.work.claim()
    fill(disk, queue)
    assert kept(disk, PHOTO)
    assert kept(disk, REFERENCE)
    queue.discard("me", id)
    assert not kept(disk, PHOTO)
    assert not kept(disk, REFERENCE)
    assert queue._file.rows.execute("SELECT count(*) FROM job").fetchone() == (0,)
    assert queue._file.rows.execute("SELECT count(*) FROM upload").fetchone() == (0,)


def test_results_whose_time_is_over_go_also_where_the_disk_is_full(disk, queue, clock):
    account = DONE.account.model_copy(update={"warnings": ["of Grandma, " * 500]})
    result = replace(DONE, picture=Picture(secrets.token_bytes(5 * MEGABYTE), "image/png"), account=account)
    id = queue.submit("me", LARGE).id
    queue.work.claim()
    queue.work.finish(id, result, 1)
    fill(disk, queue)
    assert queue.result("me", id) == result.picture
    queue.fetched("me", id)
    clock[0] = 1.25
    queue.work.purge()
    for what in (PHOTO, REFERENCE, result.picture.data):
        assert not kept(disk, what)
    assert not any(b"Grandma" in path.read_bytes() for path in disk.iterdir())


def test_a_job_that_fails_says_why_where_the_disk_is_full(disk, queue):
    id = queue.submit("me", LARGE).id
    queue.work.claim()
    fill(disk, queue)
    with pytest.raises(OutputError, match="disk is full"):
        queue.work.finish(id, replace(DONE, picture=Picture(bytes(MEGABYTE), "image/png")), 1)
    queue.work.fail(id, Problem(code="disk_full", subject=None, reason="No room", hint=None), 507)
    assert queue.get("me", id).problem.reason == "No room"
    assert not kept(disk, PHOTO)


def test_what_was_refused_for_want_of_room_leaves_nothing_and_the_reserve_comes_back(disk, queue):
    def room() -> bool:
        return (disk / "reserve").exists() and (disk / "reserve").stat().st_size == RESERVE

    assert room()
    with pytest.raises(OutputError, match="The disk is full"):
        queue.submit("me", replace(REQUEST, photo=bytes(30 * MEGABYTE)))
    id = queue.submit("me", LARGE).id
    other = fill(disk, queue)
    queue.discard("me", id)
    assert not room()
    other.unlink()
    queue.work.purge()
    assert room()


def test_a_full_disk_is_said_and_what_is_kept_is_shown_and_forgotten(disk, restorer, photo, reference):
    with TestClient(create_app(restorer, data_dir=disk), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        assert http.get("/readyz").status_code == 200
        job = client.submit(photo)
        until(lambda: client.job(job.id).state == State.DONE)
        other = fill(disk)
        not_ready = http.get("/readyz")
        assert (not_ready.status_code, not_ready.json()["code"]) == (503, "disk_full")
        assert client.result(job.id)[0] == photo
        client.cancel(job.id)
        for ask in (
            lambda: client.enroll("Eileen", [reference]),
            lambda: client.submit(photo, [reference]),
        ):
            fill(disk)
            with pytest.raises(ServerError) as error:
                ask()
            assert (error.value.status, error.value.code) == (507, "disk_full")
        assert client.people() == []
        other.unlink()
        client.enroll("Eileen", [reference])
        assert [one.name for one in Library(disk).everybody()] == ["Eileen"]
        assert http.get("/readyz").status_code == 200


def test_the_file_gives_back_the_room_of_jobs_that_are_gone(tmp_path):
    queue = JobQueue(tmp_path, Limits())
    ids = [queue.submit("me", replace(REQUEST, photo=secrets.token_bytes(16 * MEGABYTE))).id for _ in range(3)]
    assert (tmp_path / FILE).stat().st_size > 45 * MEGABYTE
    left = queue.submit("me", REQUEST)
    for id in ids:
        queue.discard("me", id)
    for _ in range(3):
        queue.work.purge()  # a part each time
    assert (tmp_path / FILE).stat().st_size < 20 * MEGABYTE
    assert queue.upload("me", left.id, 0).data == REQUEST.photo
    queue.close()
