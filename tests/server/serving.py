"""What the tests of this folder ask a server for, and a restorer that can be held in the middle."""

import io
import time
from collections.abc import Callable
from threading import Event

from PIL import Image

from faceref import RestoreOptions, Restorer, Result

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

    def restore(self, photo, people=(), options=FULLY, *, on_step=lambda *_: None) -> Result:
        def held(done: int, total: int) -> None:
            on_step(done, total)
            self.begun.set()
            self.go.wait(60)
            on_step(done, total)

        return super().restore(photo, people, options, on_step=held)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something; fails where it does not come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
