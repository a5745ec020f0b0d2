"""What the tests of this folder ask a server for, and a restorer that can be held in the middle."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import uvicorn
from fastapi import FastAPI
from PIL import Image

from faceref import RestoreOptions, Restorer, Result
from faceref.app.server.connections import bounded_protocol

FULLY = RestoreOptions(always=True)  # the portrait of these tests is a good one
TOKENS = ("a token for the first", "a token for the second")


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class HeldRestorer(Restorer):
    """Stops after the first step until `go` is set."""

    def __init__(self, restorer: Restorer) -> None:
        super().__init__(restorer.model, restorer.blind, restorer.detector, restorer.recogniser)
        self.go = Event()
        self.begun = Event()

    def restore(self, photo, people=(), options=FULLY, *, on_step=lambda *_: None, on_photo=lambda *_: None) -> Result:
        def held(done: int, total: int) -> None:
            on_step(done, total)
            self.begun.set()
            self.go.wait(60)
            on_step(done, total)

        return super().restore(photo, people, options, on_step=held, on_photo=on_photo)


class HeldDetector:
    """Waits at a picture, the first is number 1, until `go` is set."""

    def __init__(self, detector, at: int) -> None:
        self.detector = detector
        self.at = at
        self.pictures = 0
        self.begun, self.go = Event(), Event()

    def detect(self, image):
        self.pictures += 1
        if self.pictures == self.at:
            self.begun.set()
            self.go.wait(60)
        return self.detector.detect(image)


@contextmanager
def listening(app: FastAPI, connections: int = 100) -> Iterator[str]:
    """A server in a thread of this process, behind a socket as in `faceref serve`; where it listens."""
    options = {"log_level": "error", "ws": "none", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=bounded_protocol(connections), **options))
    sockets = [server.config.bind_socket()]
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something; fails where it does not come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
