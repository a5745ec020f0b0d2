"""Results that are too large for something, or that no browser shows: they can be downloaded all the same."""

import io

import pytest
from PIL import Image
from playwright.sync_api import expect
from serving import listening
from visiting import choose, downloaded, job_id, restore, wait_for_faces

from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.client import Client


@pytest.fixture
def scan(bad, tmp_path):
    """A compressed TIFF file, of which the result, which is not compressed, has more than a megabyte."""
    bad.resize((700, 700)).save(tmp_path / "scan.tif", compression="tiff_adobe_deflate")
    return tmp_path / "scan.tif"


def test_a_result_that_is_larger_than_a_request_may_be_is_shown(visit, restorer, scan, tmp_path):
    with listening(create_app(restorer, (), tmp_path / "small", Limits(megabytes=1))) as address:
        page = visit(address)
        choose(page, "photos", [scan])
        wait_for_faces(page, 1)
        restore(page)
        expect(page.locator("#exact")).to_have_js_property("naturalWidth", 700)
        expect(page.locator("#problem")).to_be_hidden()
        assert len(downloaded(page, "#download")[1]) > 2**20
        page.context.close()


def test_a_result_that_cannot_be_shown_is_kept_and_downloaded(served, page, scan):
    choose(page, "photos", [scan])
    wait_for_faces(page, 1)
    said = {"code": "time", "subject": None, "reason": "It took longer than 600 seconds", "hint": None}
    page.route("**/result?*preview=true*", lambda route: route.fulfill(status=422, json=said))
    restore(page)
    reason = "The result can be downloaded, but not shown here: It took longer than 600 seconds."
    expect(page.locator("#problem")).to_have_text(reason)
    expect(page.locator("#seam")).to_be_hidden()
    name, data = downloaded(page, "#download")
    assert (name, Image.open(io.BytesIO(data)).size) == ("scan_restored.tif", (700, 700))
    with Client(served.address) as client:
        assert client.result(job_id(page), keep=True)[0] == data


def test_a_picture_is_made_visible_though_the_server_is_busy_for_a_while(page, scan):
    said = {"code": "queue_full", "subject": None, "reason": "64 requests are waiting already", "hint": None}
    answers = [{"status": 429, "headers": {"Retry-After": "1"}, "json": said}, {"status": 502, "body": "Bad Gateway"}]
    page.route("**/v1/preview", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_())
    choose(page, "photos", [scan])
    wait_for_faces(page, 1)
    expect(page.locator("#before")).to_have_js_property("naturalWidth", 700)
    expect(page.locator("#problem")).to_be_hidden()


def test_results_that_are_too_large_for_one_archive_are_refused_and_not_spoilt(page, bad, two, on_disk):
    choose(page, "photos", on_disk(old=bad, group=two))
    page.get_by_role("button", name="Restore 2 photographs").click()
    expect(page.locator("#status")).to_have_text("2 of 2 photographs restored")
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 2.1e9 })")
    page.locator("#download-all").click()
    said = "The results are more than 4 GB together, which no archive of this page holds; download them one by one."
    expect(page.locator("#message")).to_have_text(said)
