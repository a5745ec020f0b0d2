"""The page in a real browser: one headless Chromium and one server with a tiny model for all tests."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from serving import HeldRestorer, listening, png

from faceref.app.server.api import create_app
from faceref.client import Client

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright to run this test")
PATIENCE = 60_000  # milliseconds: machines may be busy


@dataclass(frozen=True)
class Served:
    """Where the server listens, and its restorer: it waits in the middle while `held.go` is clear."""

    address: str
    held: HeldRestorer


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not here: `apt-get install chromium` to run this test.")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(restorer, tmp_path_factory) -> Iterator[Served]:
    held = HeldRestorer(restorer)
    held.go.set()
    with listening(create_app(held, data_dir=tmp_path_factory.mktemp("kept"))) as address:
        yield Served(address, held)


@pytest.fixture
def served(server) -> Iterator[Served]:
    """The server with nobody enrolled; its restorer is let go at the end."""
    with Client(server.address) as client:
        for person in client.people():
            client.remove(person.name)
    yield server
    server.held.go.set()


@pytest.fixture
def visit(browser):
    """`visit(address, **context)`: the page; a script that fails, or anything from elsewhere, fails the test."""
    wrong: list[str] = []
    contexts = []

    def open_page(address: str, **context):
        contexts.append(browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context)))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda asked: None if asked.url.startswith((address, "blob:")) else wrong.append(asked.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture
def page(visit, served):
    return visit(served.address)


@pytest.fixture(scope="session")
def bad(portrait) -> Image.Image:
    """The portrait made so bad that it is restored fully."""
    return portrait.resize((64, 64), Image.Resampling.BOX).resize(portrait.size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def two(bad) -> Image.Image:
    """Two faces, the second smaller."""
    photo = Image.new("RGB", (2 * bad.width, bad.height), "gray")
    photo.paste(bad)
    photo.paste(bad.resize((220, 220)), (bad.width + 20, 30))
    return photo


@pytest.fixture(scope="session")
def stranger(portrait) -> Image.Image:
    """Somebody else for dlib's recogniser; its detector finds the face."""
    return ImageOps.solarize(portrait, 150)


@pytest.fixture
def on_disk(tmp_path) -> Callable[..., list[Path]]:
    """`on_disk(name=picture, ...)`: files NAME.png of pictures, or of bytes."""

    def written(**pictures: Image.Image | bytes) -> list[Path]:
        paths = []
        for name, picture in pictures.items():
            paths.append(tmp_path / f"{name}.png")
            paths[-1].write_bytes(picture if isinstance(picture, bytes) else png(picture))
        return paths

    return written
