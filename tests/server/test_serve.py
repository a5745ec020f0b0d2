"""`faceref serve` as a process: refusals in one sentence, and kill -9 in the middle of its work."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx2 as httpx
import pytest
from serving import until
from typer.testing import CliRunner

from faceref import RestoreOptions, Restorer
from faceref.app.cli.main import app
from faceref.app.server.schema import State
from faceref.client import Client


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "everybody would be let in; give --token or FACEREF_TOKEN"),
        (["--token", "short"], "fewer than 16 characters and could be guessed"),
        (["--token", "schlüsselschlüssel"], "letters that no header of a request can carry"),
        (["--token", "a token with a blank "], "has blanks or letters"),
        (["--token", "a-token-that-is-long", "--host", "a..b"], "a..b:8000 cannot be listened on (it can be no name)"),
        (["--limit", "waiting=0"], "The limit waiting cannot be set"),
        (["--limit", "weight=1"], "The limit weight cannot be set"),
        (["--limit", "keep_seconds=inf"], "The limit keep_seconds cannot be set"),
        (["--model", "nowhere"], "There is no model 'nowhere'"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(arguments, says):
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken_is_said_before_a_model_is_loaded(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(app, ["serve", "--host", host, "--port", str(taken.getsockname()[1])])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "cannot be listened on (Address already in use); choose another --port" in done.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(app, ["serve"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'faceref[app]'" in done.stderr


@contextmanager
def serving(model, data_dir, ended_by=signal.SIGKILL, said=subprocess.DEVNULL):
    """A server in a process of its own, ended by a signal, and a client of it; what it says goes to a file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "faceref", "serve", "--port", port, "--model", model, "--data-dir", data_dir]
    command += ["--limit", "fetched_seconds=600"]
    process = subprocess.Popen(list(map(str, command)), stderr=said)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
        try:
            until(lambda: process.poll() is not None or _answers(http), 120)
            yield Client(http=http)
        finally:
            os.kill(process.pid, ended_by)
            process.wait(60)


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def test_who_waits_for_a_job_while_the_server_is_stopped_is_told_which_it_is(tiny_model, photo, tmp_path):
    answers = {}
    with (tmp_path / "said").open("w") as said:
        with serving(tiny_model, tmp_path / "kept", signal.SIGINT, said) as client:
            form = {"files": {"photo": photo}, "data": {"options": '{"always": true, "steps": 1000}'}}
            ask = {
                "waits": lambda: client._http.post("/v1/restore", headers={"Prefer": "wait=60"}, timeout=90, **form),
                "follows": lambda: list(client.follow(followed.id)),
            }
            followed = client.submit(photo, options=RestoreOptions(always=True, steps=1000))
            asking = [
                threading.Thread(target=lambda name=name, one=one: answers.update({name: one()}))
                for name, one in ask.items()
            ]
            for thread in asking:
                thread.start()
            until(lambda: client.job(followed.id).steps_done > 1)
        for thread in asking:
            thread.join(60)
    assert answers["waits"].status_code == 202
    assert answers["waits"].headers["Location"] == f"/v1/jobs/{answers['waits'].json()['id']}"
    assert answers["follows"][-1].state == State.RUNNING
    assert "Traceback" not in (tmp_path / "said").read_text()


def test_what_was_accepted_is_finished_once_after_kill_9(serve, tiny_model, photo, reference, tmp_path):
    options = [RestoreOptions(always=True, seed=seed, steps=10) for seed in range(3)]
    with serving(tiny_model, tmp_path / "kept") as client:
        jobs = [client.submit(photo, [reference], options=one, idempotency_key=str(one.seed)) for one in options]
        until(lambda: client.job(jobs[1].id).state == State.RUNNING)
        first, _ = client.result(jobs[0].id)
    client = Client(http=serve(by=Restorer.from_pretrained(tiny_model, device="cpu"), fetched_seconds=600))
    again = [client.submit(photo, [reference], options=one, idempotency_key=str(one.seed)) for one in options]
    assert [job.id for job in again] == [job.id for job in jobs]
    assert again[0].state == State.DONE
    results = [client.restore(photo, [reference], options=options[0]).data]
    until(lambda: all(client.job(job.id).state == State.DONE for job in jobs))
    results += [client.result(job.id)[0] for job in jobs]
    assert results[0] == results[1] == first
    assert len(set(results)) == len(jobs)  # each seed its own picture
