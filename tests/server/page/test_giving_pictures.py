"""How pictures get onto the page: dropped, folders too, and pasted, with the browser's own events."""

import base64
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, expect
from serving import png
from visiting import choose, restore, wait_for_faces

from faceref.pictures.formats import PHOTO_SUFFIXES

PASTE = """pasted => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(pasted), (one) => one.charCodeAt(0));
    data.items.add(new File([bytes], "image.png", { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


def drop(page: Page, place: Locator, *paths: Path) -> None:
    """As the system does it that the browser runs on."""
    box = place.bounding_box()
    assert box is not None
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        devtools.send("Input.dispatchDragEvent", {"type": kind, "data": data, **where})


@pytest.fixture
def album(tmp_path, bad, on_disk) -> Path:
    """A folder with a photograph, one in a folder inside, and what is no picture."""
    first, second, notes = on_disk(first=bad, second=ImageOps.mirror(bad), notes=b"Dear Sir")
    (tmp_path / "album" / "inside").mkdir(parents=True)
    first.rename(tmp_path / "album" / "1.png")
    second.rename(tmp_path / "album" / "inside" / "2.png")
    notes.rename(tmp_path / "album" / "notes.txt")
    return tmp_path / "album"


def test_photographs_folders_and_references_are_dropped_where_they_belong(page, album, bad, portrait, on_disk):
    old, good = on_disk(old=bad, good=portrait)
    drop(page, page.locator("#welcome [data-drop=photos]"), old, album)
    expect(page.locator("#photos button")).to_have_count(3)
    labels = [page.locator("#photos button").nth(i).get_attribute("aria-label") for i in range(3)]
    assert labels == ["old.png: ready", "1.png: ready", "2.png: ready"]
    drop(page, page.locator("[data-drop=references]"), good)
    expect(page.get_by_role("list", name="References").get_by_role("img", name="good.png")).to_be_visible()
    expect(page.locator("#photos button")).to_have_count(3)
    expect(page.locator("#faces strong")).to_have_text("1 Same person")
    drop(page, page.locator("header"), good)  # beside all places: nothing is opened instead of the page
    expect(page.locator("#photos button")).to_have_count(3)


def test_of_a_folder_all_is_taken_that_the_command_takes_for_photographs(page, bad, tmp_path):
    (tmp_path / "album").mkdir()
    for suffix in PHOTO_SUFFIXES:
        (tmp_path / "album" / f"photo{suffix}").write_bytes(png(bad))
    (tmp_path / "album" / "photo.txt").write_bytes(b"Dear Sir")
    drop(page, page.locator("#welcome [data-drop=photos]"), tmp_path / "album")
    expect(page.locator("#photos button")).to_have_count(len(PHOTO_SUFFIXES))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif"])
def test_a_photograph_that_lies_in_its_file_is_shown_upright(page, bad, tmp_path, suffix):
    exif, photo = Image.Exif(), bad.crop((0, 0, bad.width, bad.height - 14))
    exif[0x0112] = 8  # to be turned to the left
    photo.transpose(Image.Transpose.ROTATE_270).save(tmp_path / f"photo.{suffix}", exif=exif)
    choose(page, "photos", [tmp_path / f"photo.{suffix}"])
    wait_for_faces(page, 1)
    expect(page.locator("#caption")).to_contain_text(f"{photo.width} × {photo.height}")
    restore(page)
    expect(page.locator("#exact")).to_have_js_property("naturalWidth", photo.width)


def test_the_example_is_taken_once_and_goes_by_its_own_reference(page, bad, portrait, on_disk):
    photo, good = on_disk(old=bad, good=portrait)
    choose(page, "photos", [photo])
    choose(page, "references", [good])
    expect(page.locator("#references img")).to_have_count(1)
    page.locator("#remove-photo").click()
    page.locator("#try-example").dblclick()
    page.locator("#outcome").wait_for()
    expect(page.locator("#photos button")).to_have_count(1)
    expect(page.locator("#references img")).to_have_attribute("alt", "reference.jpg")


def test_good_photographs_that_cannot_be_used_are_named(page, bad, portrait, wall, on_disk):
    photo, good, grey = on_disk(old=bad, good=portrait, wall=wall)
    choose(page, "photos", [photo])
    choose(page, "references", [good, grey])
    said = page.get_by_role("list", name="Photographs that were left out").get_by_role("listitem")
    expect(said).to_have_text("wall.png was left out: no face was found in it.")
    restore(page)
    expect(said).to_have_text("wall.png was left out: no face was found in it.")
    page.get_by_role("button", name="Remove wall.png").click()
    expect(said).to_have_count(0)


def test_a_pasted_picture_is_one_more_photograph(page, bad):
    page.evaluate(PASTE, base64.b64encode(png(bad)).decode())
    wait_for_faces(page, 1)
    expect(page.locator("#caption")).to_contain_text("image.png")


def test_what_is_pasted_into_the_window_of_people_is_of_the_new_person_and_can_be_taken_out(page, portrait):
    page.locator("#open-people").click()
    people = page.get_by_role("dialog", name="People")
    page.evaluate(PASTE, base64.b64encode(png(portrait)).decode())
    photos = people.get_by_role("list", name="Photographs of the new person")
    expect(photos.get_by_role("img")).to_have_count(1)
    photos.get_by_role("button", name="Remove image.png").click()
    expect(photos.get_by_role("img")).to_have_count(0)
    expect(page.locator("#photos button")).to_have_count(0)


@pytest.mark.parametrize("begun", ["#restore", "#start-over"])
def test_what_is_said_above_the_page_goes_when_something_else_begins(page, bad, on_disk, begun: str):
    old, notes = on_disk(old=bad, notes=b"Dear Sir")
    choose(page, "photos", [old])
    wait_for_faces(page, 1)
    choose(page, "references", [notes])
    expect(page.locator("#message")).to_be_visible()
    page.locator(begun).click()
    expect(page.locator("#message")).to_be_hidden()
