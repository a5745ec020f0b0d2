"""Clients that are slow, stop in the middle, or say nothing: they are answered or closed, and others are served."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from fastapi import FastAPI, Response
from serving import TOKENS, listening, until

from faceref.app.server import connections, watch
from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.app.server.pictures import Picture
from faceref.app.server.service import as_response

HEADING = (
    f"POST /v1/restore HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS[0]}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n"
)
Connect = Callable[[str], socket.socket]


@pytest.fixture
def connect(restorer, tmp_path) -> Iterator[Callable[..., Connect]]:
    """`connect(connections=..., name=limit...)`: a server; what it returns opens a connection and says something."""
    with ExitStack() as stack:

        def served(connections: int = 100, **limits: float) -> Connect:
            app = create_app(restorer, TOKENS, tmp_path, Limits.model_validate(limits))
            address = urlsplit(stack.enter_context(listening(app, connections)))

            def say(what: str) -> socket.socket:
                opened = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=60))
                opened.sendall(what.encode())
                return opened

            return say

        yield served


def answer(connection: socket.socket) -> str:
    """What comes until a problem is told or the connection closed."""
    told = b""
    try:
        while not told.endswith(b"}") and (part := connection.recv(65536)):
            told += part
    except ConnectionResetError:
        pass
    return told.decode()


def is_healthy(say: Connect) -> bool:
    address, port = say("").getpeername()
    return httpx.get(f"http://{address}:{port}/healthz").is_success


def test_who_says_nothing_or_half_a_heading_is_closed(connect, monkeypatch):
    monkeypatch.setattr(connections, "HEADING", 0.3)
    say = connect()
    assert [answer(say(what)) for what in ("", "GET /healthz HT")] == ["", ""]
    assert is_healthy(say)


def test_where_there_are_too_many_the_oldest_that_asks_nothing_goes(connect):
    say = connect(connections=5)
    busy = say(HEADING + "Content-Length: 9\r\n\r\n")
    assert is_healthy(say)  # the server has read what came before
    opened = [say("") for _ in range(20)]
    assert is_healthy(say)
    assert [answer(one) for one in opened[:15]] == [""] * 15
    busy.sendall(b"a message")
    assert "400" in answer(busy)


@pytest.mark.parametrize("limits", [{"arriving_seconds": 0.3}, {}])
def test_a_body_that_does_not_come_is_not_waited_for(connect, monkeypatch, limits):
    if not limits:
        monkeypatch.setattr(watch, "SILENCE", 0.3)
    say = connect(**limits)
    told = answer(say(HEADING + "Content-Length: 1000\r\n\r\n--x\r\n"))
    assert "408" in told.splitlines()[0]
    assert "did not arrive in time" in told


def test_so_many_requests_arrive_at_once_and_no_more(connect):
    say = connect(arriving=2)
    slow = [say(HEADING + "Content-Length: 9\r\n\r\n") for _ in range(2)]
    assert is_healthy(say)  # the server has read what came before
    told = answer(say(HEADING + "Content-Length: 9\r\n\r\n"))
    assert "429" in told.splitlines()[0]
    assert "retry-after: 5" in told
    slow[0].close()
    until(lambda: "400" in answer(say(HEADING + "Content-Length: 9\r\n\r\na message")))
    assert is_healthy(say)


def test_who_is_not_let_in_hears_it_before_the_pictures_are_sent(connect):
    told = answer(connect()("POST /v1/restore HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"))
    assert "401" in told.splitlines()[0]
    assert "token is missing" in told


def test_who_reads_slowly_gets_all_of_a_picture(monkeypatch):
    monkeypatch.setattr(connections, "ANSWER", 1.0)
    app, picture = FastAPI(), bytes(32 << 20)

    @app.get("/")
    def read() -> Response:
        return as_response(Picture(picture, "image/png"))

    with listening(app) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.settimeout(60)
        connection.connect((urlsplit(address).hostname, urlsplit(address).port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        started, received = time.monotonic(), 0
        while part := connection.recv(1 << 18):
            received += len(part)
            time.sleep(0.01)
    assert time.monotonic() - started > 1.2  # longer than a client that has stopped is waited for
    assert received > len(picture)


def test_a_request_that_is_sent_before_the_answer_to_another_has_all_its_time(monkeypatch):
    monkeypatch.setattr(connections, "ANSWER", 0.5)
    app = FastAPI()

    @app.get("/{seconds}")
    async def wait(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return f"after {seconds} seconds"

    def asked(*seconds: float) -> str:
        return "".join(f"GET /{one} HTTP/1.1\r\nHost: x\r\n\r\n" for one in seconds)

    with listening(app) as address, socket.socket() as connection:
        connection.settimeout(60)
        connection.connect((urlsplit(address).hostname, urlsplit(address).port))
        for sent in ((0.0, 1.0), (1.5,)):
            connection.sendall(asked(*sent).encode())
            told = b""
            while b"after %.1f seconds" % sent[-1] not in told and (part := connection.recv(65536)):
                told += part
            assert told.count(b"200 OK") == len(sent)
