"""What a visitor does: give a photograph, see who is on it, restore, compare, set the strength, download."""

import io
import re
import zipfile
from dataclasses import replace

import httpx2 as httpx
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Page, expect
from serving import png, until
from visiting import SET, choose, downloaded, faces_of, job_id, pixels, restore, restore_half, shown, wait_for_faces

from faceref import RestoreOptions
from faceref.app.server.schema import State
from faceref.client import Client


@pytest.fixture
def enrolled(served, reference, stranger) -> None:
    with Client(served.address) as client:
        client.enroll("Eileen", [reference])
        client.enroll("Somebody else", [png(stranger)])


@pytest.fixture
def group(page, enrolled, portrait, stranger, on_disk) -> Image.Image:
    """The photograph of two people, on the page, where they are looked for, also if they are good already."""
    photo = Image.new("RGB", (2 * portrait.width, portrait.height))
    photo.paste(ImageOps.mirror(stranger))  # what shows a reference itself is restored without it
    photo.paste(portrait, (portrait.width, 0))
    page.reload()
    choose(page, "photos", on_disk(group=photo))
    page.get_by_role("radio", name="People").check()
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Restore faces that are good already").check()
    return photo


def test_the_example_is_restored_by_one_click(page):
    page.get_by_role("button", name="Try it with an example").click()
    page.locator("#outcome").wait_for()
    expect(page.locator("#faces strong")).to_have_text("1 Same person")
    expect(page.locator("#faces .hint")).to_have_text(re.compile(r"^\d+ % sure · restored, 100 %$"))
    expect(page.locator("#outcome")).to_contain_text("A restored face is partly invented")


def test_people_who_are_kept_are_found_named_and_restored_as_in_python(
    page, group, served, restorer, reference, stranger
):
    names = [re.compile(r"1 Somebody else, \d+ %"), re.compile(r"2 Eileen, \d+ %")]
    expect(page.locator("#boxes button")).to_have_text(names)
    restore(page)
    name, data = downloaded(page, "#download")
    people = [
        replace(restorer.person(photo), name=name) for photo, name in ((reference, "Eileen"), (png(stranger), ""))
    ]
    expected = restorer.restore(png(group), people, RestoreOptions(always=True))
    assert (name, pixels(data)) == ("group_restored.png", expected.image.tobytes())


def test_who_a_face_is_can_be_corrected_by_hand(page, group, served):
    wait_for_faces(page, 2)
    page.get_by_label("What becomes of face 1").select_option("Eileen")
    page.get_by_label("What becomes of face 2").select_option("Leave alone")
    page.get_by_role("checkbox", name="Let colours change").check()
    expect(page.locator("#faces-said")).to_have_text(re.compile("found"))
    expect(page.locator("#faces strong")).to_have_text(["1 Eileen", "Face 2"])
    restore(page)
    with Client(served.address) as client:
        first, second = faces_of(client.job(job_id(page)))
        assert (first.person, first.restored, second.left_alone) == ("Eileen", True, "you said so")
        page.get_by_label("What becomes of face 1").select_option("Somebody else: restore without references")
        page.get_by_role("button", name="Restore again").click()
        expect(page.locator("#faces .hint").first).to_contain_text("· restored without references")
        assert faces_of(client.job(job_id(page)))[0].references == []


def test_where_nobody_is_surely_the_person_the_face_is_chosen_by_hand(page, served, portrait, bad, on_disk):
    photo, stranger = on_disk(photo=bad, stranger=ImageOps.invert(portrait))
    choose(page, "photos", [photo])
    choose(page, "references", [stranger])
    said = page.get_by_text("has no face that is surely the person of the references")
    expect(said).to_contain_text("if it is them, choose face 1, or give more photographs of the person.")
    page.get_by_label("What becomes of face 1").select_option("Same person")
    restore(page)
    with Client(served.address) as client:
        assert faces_of(client.job(job_id(page)))[0].references == ["picture 1"]


def test_a_face_that_is_good_already_is_left_alone_and_that_is_said(page, portrait, on_disk):
    choose(page, "photos", on_disk(new=portrait))
    wait_for_faces(page, 1)
    page.locator("#restore").click()
    expect(page.locator("#faces-said")).to_have_text(re.compile("^Nothing was restored"))
    expect(page.locator("#faces .hint")).to_have_text("left alone: it is good already")
    expect(page.locator("#outcome")).to_be_hidden()
    page.get_by_role("button", name="Restore all the same").click()
    expect(page.locator("#faces .hint")).to_have_text("restored without references, 100 %")
    page.reload()
    expect(page.locator("#faces .hint")).to_have_text("restored without references, 100 %")
    page.get_by_text("Settings", exact=True).click()
    expect(page.get_by_role("checkbox", name="Restore faces that are good already")).not_to_be_checked()
    choose(page, "photos", on_disk(other=ImageOps.mirror(portrait)))  # of that nothing was said
    expect(page.locator("#faces .hint")).to_have_text("left alone: it is good already")


def test_before_and_after_are_compared_by_mouse_and_keys(page, bad, on_disk):
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore(page)
    clip = "getComputedStyle(document.querySelector('#after')).clipPath"
    divide = page.get_by_label(re.compile("Before and after"))
    box = page.locator("#frame").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    expect(divide).to_have_value("75")
    divide.press("ArrowLeft")
    assert page.evaluate(clip) == "inset(0px 0px 0px 74%)"
    page.get_by_role("button", name="Full size").click()
    width = page.locator("#frame").bounding_box()["width"]
    assert width == bad.width
    page.get_by_role("button", name="Close up").click()
    page.get_by_role("button", name="Faces", exact=True).click()
    stage, face = (page.locator(one).bounding_box() for one in ("#stage", "#boxes button"))
    assert face["width"] == pytest.approx(0.3 * stage["width"], rel=0.05)
    assert face["x"] + face["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=20)


def test_the_strength_acts_at_once_and_is_what_is_downloaded(page, restorer, bad, on_disk):
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore(page)
    expect(page.locator("#blend img")).to_have_attribute("src", re.compile("^blob:"))
    held = []
    page.route("**/result?*strength=0.4", lambda route: held.append(route))
    page.locator("#strength").evaluate(SET.format(40))
    expect(page.locator("#blend img")).to_be_visible()  # before the server has answered
    assert page.locator("#blend img").evaluate("image => image.style.opacity") == "0.4"
    expect(page.locator("#strength-said")).to_have_text("40 %")
    until(lambda: page.wait_for_timeout(50) or bool(held))
    page.unroute("**/result?*strength=0.4")  # lets it go
    expected = restorer.restore(png(bad), options=RestoreOptions(strength=0.4)).encode("PNG")[0]
    assert downloaded(page, "#download") == ("old_restored.png", expected)
    expect(page.locator("#exact")).to_be_visible()
    assert pixels(shown(page, "#exact")) == pixels(expected)
    page.get_by_role("button", name="As much as each face needs").click()
    expect(page.locator("#strength-said")).to_have_text(re.compile(r"^\d+ %, as needed$"))


def test_each_face_has_a_strength_of_its_own(page, restorer, two, on_disk):
    choose(page, "photos", on_disk(group=two))
    wait_for_faces(page, 2)
    restore(page)
    page.get_by_label("Strength of face 2").evaluate(SET.format(40))
    blend = page.locator("#blend img")
    expect(blend).to_have_count(2)  # before the server has answered
    needed, less = blend.evaluate_all("images => images.map((one) => one.style.opacity)")
    assert float(less) == 0.4 < float(needed)
    expect(page.locator("#strength-said")).to_have_text(f"40 % to {100 * float(needed):.0f} %")
    expected = restorer.restore(png(two), options=RestoreOptions(strength={2: 0.4})).encode("PNG")[0]
    assert downloaded(page, "#download") == ("group_restored.png", expected)
    page.get_by_role("button", name="Close up").click()
    page.get_by_role("button", name="Look at face 1").click()
    seam = page.get_by_label(re.compile("Before and after"))
    expect(seam).to_have_value(re.compile("^2[4-6]$"))  # where that face is
    page.locator("#strength").evaluate(SET.format(70))  # of all of them
    expect(page.get_by_label("Strength of face 2")).to_have_value("70")


def test_many_photographs_are_restored_and_downloaded_together(page, bad, two, wall, on_disk):
    first, second, third = on_disk(old=bad, group=two, wall=wall)
    choose(page, "photos", [first, second, third])
    expect(page.locator("#photos button")).to_have_count(3)
    page.get_by_role("button", name="wall.png: problem").wait_for()
    page.get_by_role("button", name="Restore 2 photographs").click()
    expect(page.locator("#status")).to_have_text("2 of 3 photographs restored")
    expect(page.get_by_role("button", name="Faces", exact=True)).to_be_visible()
    page.get_by_role("button", name="wall.png: problem").click()
    expect(page.get_by_role("button", name="Faces", exact=True)).to_be_hidden()
    page.get_by_role("button", name="old.png: done").click()
    name, data = downloaded(page, "#download-all")
    assert name == "restored.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["old_restored.png", "group_restored.png"]
        with Image.open(archive.open("group_restored.png")) as picture:
            assert picture.size == two.size
            assert picture.info["Description"].startswith("AI-restored")


def test_photographs_that_browsers_cannot_show_are_shown(page, bad, tmp_path):
    bad.save(tmp_path / "scan.tif")
    choose(page, "photos", [tmp_path / "scan.tif"])
    wait_for_faces(page, 1)
    expect(page.locator("#caption")).to_contain_text(f"scan.tif · {bad.width} × {bad.height}")
    restore(page)
    name, data = downloaded(page, "#download")
    assert (name, Image.open(io.BytesIO(data)).format) == ("scan_restored.tif", "TIFF")


def test_a_job_shows_how_far_it_is_and_is_cancelled(served, page, bad, on_disk):
    served.held.go.clear()
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore_half(page)
    expect(page.locator("#progress-said")).to_have_text(re.compile(r"About \d+ (s|min) left"))
    id = job_id(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Restore", exact=True)).to_be_enabled()
    until(lambda: httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 404)


@pytest.mark.parametrize("ends", ["fails", "is cancelled", "is cancelled when the page was loaded again"])
def test_a_result_stays_until_restoring_again_has_another(served, page, bad, portrait, wall, on_disk, ends):
    photo, good, grey = on_disk(old=bad, good=portrait, grey=wall)
    choose(page, "photos", [photo])
    choose(page, "references", [good])
    expect(page.locator("#faces strong")).to_have_text("1 Same person")
    restore(page)
    id, before = job_id(page), downloaded(page, "#download")
    if ends == "fails":
        page.get_by_role("button", name="Remove good.png").click()
        choose(page, "references", [grey])
        expect(page.locator("#problem")).to_contain_text("None of the references can be used")
    else:
        served.held.go.clear()
        page.get_by_text("Settings", exact=True).click()
        page.get_by_role("checkbox", name="Let colours change").check()
    page.get_by_role("button", name="Restore again").click()
    if ends != "fails":
        expect(page.locator("#bar")).to_have_attribute("value", "0.5")
        if "loaded again" in ends:
            page.reload()
            expect(page.locator("#progress")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Restore again")).to_be_visible()
    expect(page.locator("#outcome")).to_be_visible()
    assert (job_id(page), downloaded(page, "#download")) == (id, before)
    assert httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 200


def test_a_page_that_is_loaded_again_goes_on_where_it_was(served, page, bad, portrait, on_disk):
    served.held.go.clear()
    photo, good = on_disk(old=bad, good=portrait)
    choose(page, "photos", [photo])
    choose(page, "references", [good])
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Let colours change").check()
    expect(page.locator("#faces strong")).to_have_text("1 Same person")
    restore_half(page)
    page.reload()
    expect(page.locator("#caption")).to_contain_text("old.png")
    expect(page.get_by_role("list", name="References").get_by_role("img", name="good.png")).to_be_visible()
    expect(page.locator("#progress")).to_be_visible()
    served.held.go.set()
    page.locator("#outcome").wait_for()
    page.locator("#strength").evaluate(SET.format(30))
    page.reload()
    page.locator("#outcome").wait_for()
    expect(page.locator("#strength-said")).to_have_text("30 %")
    assert downloaded(page, "#download")[0] == "old_restored.png"
    page.get_by_text("Settings", exact=True).click()
    expect(page.get_by_role("checkbox", name="Let colours change")).to_be_checked()
    page.get_by_label("What becomes of face 1").select_option("Same person")
    page.get_by_role("button", name="Restore again").click()
    expect(page.locator("#status")).to_have_text("1 of 1 photographs restored")
    expect(page.locator("#strength-said")).to_have_text("30 %")
    with Client(served.address) as client:
        job = client.job(job_id(page))
        assert (job.state, faces_of(job)[0].references) == (State.DONE, ["picture 1"])
        page.get_by_role("button", name="Start over").click()
        page.locator("#welcome").wait_for()


def test_errors_are_the_sentences_of_the_command(page: Page, restorer, wall, on_disk):
    choose(page, "photos", on_disk(wall=wall, letter=b"Dear Sir"))
    with pytest.raises(Exception) as no_face:  # noqa: PT011 (its words are compared)
        restorer.match(wall)
    expect(page.locator("#problem")).to_have_text(str(no_face.value))
    expect(page.locator("#restore")).to_be_disabled()
    page.get_by_role("button", name="letter.png").click()
    with pytest.raises(Exception) as no_picture:  # noqa: PT011
        restorer.match(b"Dear Sir")
    expect(page.locator("#problem")).to_have_text(str(no_picture.value).replace("The picture", "The photograph"))
