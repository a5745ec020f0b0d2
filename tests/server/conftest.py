"""The server in this process, with a tiny model; a person's photograph and reference as bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageOps
from serving import HeldRestorer, png

from faceref import Restorer
from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.client import Client
from faceref.faces.detect import DlibDetector


@pytest.fixture(scope="session")
def restorer(tiny_model) -> Restorer:
    return Restorer.from_pretrained(tiny_model, device="cpu", detector=DlibDetector())


@pytest.fixture(scope="session")
def photo(portrait) -> bytes:
    return png(portrait)


@pytest.fixture(scope="session")
def reference(portrait) -> bytes:
    return png(ImageOps.mirror(portrait))


@pytest.fixture(scope="session")
def wall() -> bytes:
    """A photograph without a face, as a PNG file."""
    return png(Image.new("RGB", (64, 64), "gray"))


@pytest.fixture
def serve(restorer, tmp_path) -> Iterator[Callable[..., TestClient]]:
    """`serve(tokens, by=restorer, name=limit...)`: a running server that keeps people and jobs in tmp_path/kept."""
    with ExitStack() as stack:

        def started(tokens: tuple[str, ...] = (), by: Restorer = restorer, **limits: float) -> TestClient:
            app = create_app(by, tokens, tmp_path / "kept", Limits.model_validate(limits))
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield started


@pytest.fixture
def held(restorer) -> Iterator[HeldRestorer]:
    """The same restorer, held; let go at the end, so that the server can stop."""
    held = HeldRestorer(restorer)
    yield held
    held.go.set()


@pytest.fixture
def client(serve) -> Client:
    """A client of a server without tokens."""
    return Client(http=serve())
