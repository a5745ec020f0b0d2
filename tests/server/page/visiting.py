"""What a visitor of the page does, and how pictures are compared."""

import base64
import io
import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from faceref.app.server.schema import Job
from faceref.restore.account import FaceAccount

# what moves a slider to a value
SET = "slider => {{ slider.value = {}; slider.dispatchEvent(new Event('input')); }}"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def choose(page: Page, what: str, files: list[Path]) -> None:
    """Choose files for "photos", "references" or "enroll", as one would with the mouse."""
    with page.expect_file_chooser() as chooser:
        page.locator(f"[data-choose={what}]:visible").first.click()
    chooser.value.set_files(files)


def wait_for_faces(page: Page, count: int) -> None:
    """Until the faces of the photograph that is shown are marked and listed."""
    expect(page.locator("#boxes button")).to_have_count(count)
    expect(page.locator("#faces-said")).to_have_text(re.compile("found"))


def restore(page: Page) -> None:
    page.locator("#restore").click()
    page.locator("#outcome").wait_for()


def restore_half(page: Page) -> None:
    """Begin to restore with a server that waits in the middle."""
    page.locator("#restore").click()
    expect(page.locator("#bar")).to_have_attribute("value", "0.5")


def downloaded(page: Page, button: str) -> tuple[str, bytes]:
    """Name and content of the file that a button gives."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def job_id(page: Page) -> str:
    """Of the one job that the page remembers."""
    return page.evaluate("JSON.parse(sessionStorage.getItem('faceref')).jobs[0].id")


def faces_of(job: Job) -> list[FaceAccount]:
    """What became of the faces of a job that is done."""
    assert job.account is not None
    return job.account.faces


def shown(page: Page, image: str) -> bytes:
    """A picture of the page as the browser has decoded it, as a PNG file."""
    draw = """image => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext("2d").drawImage(image, 0, 0);
        return canvas.toDataURL();
    }"""
    return base64.b64decode(page.locator(image).evaluate(draw).partition(",")[2])


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()
