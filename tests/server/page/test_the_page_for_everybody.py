"""The page for everybody: keyboards, readers, small screens, dark rooms, and nothing from elsewhere."""

import re

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, expect
from visiting import NARROW, WIDE, choose, restore, wait_for_faces

from faceref.app.server.page import FOLDER

Axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def barriers(page: Page) -> list[str]:
    """What axe-core finds against WCAG A and AA, contrast too."""
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in Axe().run(page, options=RULES).response["violations"]]


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def drag(page: Page, start: float, end: float, y: float) -> None:
    """From left to right or back, with a finger, slowly."""
    devtools = page.context.new_cdp_session(page)
    for part in range(13):
        at = [{"x": start + (end - start) * part / 12, "y": y}]
        devtools.send("Input.dispatchTouchEvent", {"type": "touchMove" if part else "touchStart", "touchPoints": at})
        page.wait_for_timeout(20)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(300)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_each_step_is_accessible_and_as_wide_as_the_screen(visit, served, two, portrait, on_disk, viewport, scheme):
    page = visit(served.address, viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    found = barriers(page)
    photo, good = on_disk(group=two, good=portrait)
    choose(page, "photos", [photo])
    wait_for_faces(page, 2)
    choose(page, "references", [good])
    expect(page.locator("#faces strong").filter(has_text="Same person")).to_have_count(1)
    page.get_by_label("What becomes of face 1").select_option("Same person")
    page.get_by_label("What becomes of face 2").select_option("Same person")
    page.locator("summary").first.click()
    found += barriers(page)
    restore(page)
    found += barriers(page)
    assert overflow(page) == 0
    page.locator("#open-people").click()
    found += barriers(page)
    assert not found


def test_the_example_is_restored_and_compared_with_keys_alone(page):
    expect(page.locator("#open-people")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "try-example":
            break
    page.keyboard.press("Enter")
    page.locator("#outcome").wait_for()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"divide", "strength", "download", "toggle-size", "remove-photo"} <= reached


def test_what_is_removed_with_keys_leaves_the_focus_to_what_is_next_to_it(served, page, bad, portrait, on_disk):
    photo, *good = on_disk(old=bad, one=portrait, two=portrait.rotate(5), three=portrait.rotate(9))
    focus = page.locator(":focus")
    choose(page, "photos", [photo])
    choose(page, "references", good)
    expect(page.locator("#references img")).to_have_count(3)
    for removed, next in (("two", "Remove three.png"), ("three", "Remove one.png"), ("one", "Add good photographs")):
        page.get_by_role("button", name=f"Remove {removed}.png").press("Enter")
        expect(page.locator("#references").get_by_role("button", name=f"Remove {removed}.png")).to_have_count(0)
        expect(focus).to_have_accessible_name(next)
    page.locator("#open-people").click()
    choose(page, "enroll", good[:2])
    people = page.get_by_role("dialog", name="People")
    people.get_by_role("button", name="Remove one.png").press("Enter")
    expect(focus).to_have_accessible_name("Remove two.png")
    people.get_by_label("Name", exact=True).fill("Eileen")
    people.get_by_role("button", name="Enroll").click()
    people.get_by_role("button", name="Show faces").press("Enter")
    expect(people.get_by_role("img", name="Eileen, photograph 1")).to_be_visible()
    expect(focus).to_have_accessible_name("Add photographs")
    people.get_by_role("button", name="Rename").press("Enter")
    people.get_by_label("New name of Eileen").fill("Grandma")
    people.get_by_label("New name of Eileen").press("Enter")
    expect(focus).to_have_accessible_name("Show faces")
    people.get_by_role("button", name="Remove").press("Enter")
    people.get_by_role("button", name="Forget Grandma for good").press("Enter")
    expect(focus).to_have_accessible_name("Name")
    people.get_by_role("button", name="Close").click()
    page.locator("#remove-photo").press("Enter")
    expect(focus).to_have_accessible_name("Choose photographs")


def test_who_restores_with_keys_goes_on_with_the_result_or_where_they_were(served, page, bad, on_disk):
    focus = page.locator(":focus")
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    served.held.go.clear()
    page.locator("#restore").press("Enter")
    expect(page.locator("#progress")).to_be_focused()
    page.keyboard.press("Enter")  # once too often
    page.keyboard.press("Tab")
    expect(focus).to_have_accessible_name("Cancel")
    page.keyboard.press("Enter")
    expect(focus).to_have_accessible_name("Restore")
    served.held.go.set()
    page.keyboard.press("Enter")
    expect(focus).to_have_accessible_name("Download")


def test_touch_moves_the_seam(visit, served, bad, on_disk):
    page = visit(served.address, viewport=NARROW, has_touch=True, is_mobile=True)
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore(page)
    page.locator("#frame").scroll_into_view_if_needed()
    box = page.locator("#frame").bounding_box()
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    expect(page.get_by_label(re.compile("Before and after"))).to_have_value("25")


def test_touch_moves_a_picture_that_is_wider_than_the_screen_and_the_seam_by_its_handle(visit, served, bad, on_disk):
    page = visit(served.address, viewport=NARROW, has_touch=True, is_mobile=True)
    choose(page, "photos", on_disk(old=bad.resize((1200, 1200))))
    wait_for_faces(page, 1)
    restore(page)
    page.get_by_role("button", name="Full size").click()
    page.locator("#stage").evaluate("stage => stage.scrollTo(400, 400)")
    seam, stage = page.get_by_label(re.compile("Before and after")), page.locator("#stage").bounding_box()
    before, top, middle = seam.input_value(), stage["y"] + 40, stage["y"] + stage["height"] / 2
    drag(page, 250, 130, top)
    assert page.locator("#stage").evaluate("stage => stage.scrollLeft") == pytest.approx(520, abs=20)
    assert seam.input_value() == before
    left = page.locator("#frame").bounding_box()["x"]
    page.touchscreen.tap(250, top)
    expect(seam).to_have_value(f"{100 * (250 - left) / 1200:.0f}")
    drag(page, 258, 130, middle)
    expect(seam).to_have_value(f"{100 * (130 - left) / 1200:.0f}")
    assert page.locator("#frame").bounding_box()["x"] == left


def test_the_page_loads_nothing_from_elsewhere_and_no_script_in_line(served):
    answer = httpx.get(served.address)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", answer.text)
    for path in FOLDER.rglob("*.*"):
        if path.suffix in {".html", ".css", ".js"}:
            addresses = re.findall(r"\bhttps?://[^\s\"')]+", path.read_text())
            assert not addresses, path


def test_every_file_of_the_page_is_short_and_used():
    files = [path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css"}]
    said = "".join(path.read_text() for path in FOLDER.rglob("*.*") if path.suffix in {".html", ".js"})
    for path in files:
        assert len(path.read_text().splitlines()) <= 300, path
        assert path.name in said, path
