"""The whole picture is cleaned, with a face in it or without."""

from PIL import Image
from playwright.sync_api import expect
from serving import png, until
from visiting import SET, choose, downloaded, pixels, shown

from faceref import RestoreOptions


def test_the_whole_picture_is_cleaned_and_of_one_without_a_face_that_is_all(page, restorer, bad, on_disk):
    wall = Image.effect_noise((64, 64), 40).convert("RGB")
    choose(page, "photos", on_disk(wall=wall, old=bad))
    page.get_by_role("button", name="wall.png: problem").wait_for()
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Clean the whole picture").check()
    expect(page.locator("#faces-said")).to_have_text("No face was found.")
    page.get_by_role("button", name="Restore 2 photographs").click()
    expect(page.locator("#status")).to_have_text("2 of 2 photographs done")
    expect(page.locator("#strength")).to_be_hidden()
    expect(page.locator("#warnings")).to_contain_text("The whole picture was cleaned")
    cleaned = restorer.restore(png(wall), options=RestoreOptions(background="clean"))
    assert downloaded(page, "#download") == ("wall_restored.png", cleaned.encode("PNG")[0])
    assert pixels(shown(page, "#exact")) == cleaned.image.tobytes()
    page.get_by_role("button", name="old.png: done").click()
    expect(page.locator("#blend img")).to_have_count(2)  # what is cleaned lies below what is restored
    held = []
    page.route("**/result?*strength=0.4", lambda route: held.append(route))
    page.locator("#strength").evaluate(SET.format(40))
    expect(page.locator("#blend img").last).to_be_visible()  # before the server has answered
    assert page.locator("#blend img").evaluate_all("all => all.map((one) => one.style.opacity)") == ["1", "0.4"]
    until(lambda: page.wait_for_timeout(50) or bool(held))
    page.unroute("**/result?*strength=0.4")  # lets it go
    asked = RestoreOptions(background="clean", strength=0.4)
    assert downloaded(page, "#download") == (
        "old_restored.png",
        restorer.restore(png(bad), options=asked).encode("PNG")[0],
    )
