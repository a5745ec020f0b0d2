"""The whole picture is cleaned, with a face in it or without."""

from PIL import Image
from playwright.sync_api import expect
from serving import png, until
from visiting import SET, choose, downloaded, pixels, shown

from faceref import RestoreOptions


def test_the_whole_picture_is_cleaned_and_of_one_without_a_face_that_is_all(page, restorer, bad, on_disk):
    wall = Image.effect_noise((64, 64), 40).convert("RGB")
    noisy, old = on_disk(wall=wall, old=bad)
    choose(page, "photos", [noisy])
    page.get_by_role("button", name="wall.png: problem").wait_for()
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Clean the whole picture of noise and compression").check()
    expect(page.locator("#faces-said")).to_have_text("No face was found.")
    expect(page.locator("#restore")).to_be_enabled()
    expect(page.locator("#advice")).to_be_hidden()  # no face of which anything could be invented
    choose(page, "photos", [old])
    expect(page.locator("#faces-said")).to_have_text("One face was found.")
    expect(page.locator("#advice")).to_contain_text("more of a face will be invented")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/result" in request.url else None)
    page.get_by_role("button", name="Restore 2 photographs").click()
    expect(page.locator("#status")).to_have_text("2 of 2 photographs done")
    expect(page.locator("#before")).to_have_attribute("alt", "old.png, before on the left and restored on the right")
    expect(page.locator("#blend img")).to_have_count(2)  # what is cleaned lies below what is restored
    page.get_by_role("button", name="wall.png: done").click()
    expect(page.locator("#before")).to_have_attribute("alt", "wall.png, before on the left and cleaned on the right")
    expect(page.locator("#faces-said")).to_have_text("No face was found.")
    expect(page.locator("#strength")).to_be_hidden()
    expect(page.locator("#warnings")).to_contain_text("The whole picture was cleaned")
    cleaned = restorer.restore(png(wall), options=RestoreOptions(background="clean"))
    assert cleaned.image.tobytes() != wall.tobytes()
    assert downloaded(page, "#download") == ("wall_restored.png", cleaned.encode("PNG")[0])
    expect(page.locator("#exact")).to_be_visible()
    assert pixels(shown(page, "#exact")) == cleaned.image.tobytes()
    assert len(asked) == 1 + 3  # of the wall the one that is downloaded; of the face also fully restored, and without


def test_below_a_face_that_is_shown_less_the_picture_is_cleaned(page, restorer, bad, on_disk):
    choose(page, "photos", on_disk(old=bad))
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Clean the whole picture").check()
    expect(page.locator("#faces-said")).to_have_text("One face was found.")
    page.locator("#restore").click()
    blend = page.locator("#blend img")
    expect(blend).to_have_count(2)
    held = []
    page.route("**/result?*strength=0.4", lambda route: held.append(route))
    page.locator("#strength").evaluate(SET.format(40))
    expect(blend.first).to_be_visible()  # before the server has answered
    expect(blend.last).to_be_visible()
    expect(page.locator("#exact")).to_be_hidden()
    assert blend.evaluate_all("all => all.map((one) => one.style.opacity)") == ["1", "0.4"]
    for image, strength in (("#blend img:first-child", 0.0), ("#blend img:last-child", 1.0)):
        options = RestoreOptions(background="clean", strength=strength)
        assert pixels(shown(page, image)) == restorer.restore(png(bad), options=options).image.tobytes()
    until(lambda: page.wait_for_timeout(50) or bool(held))
    page.unroute("**/result?*strength=0.4")  # lets it go
    options = RestoreOptions(background="clean", strength=0.4)
    expected = restorer.restore(png(bad), options=options).encode("PNG")[0]
    assert downloaded(page, "#download") == ("old_restored.png", expected)
    expect(page.locator("#exact")).to_be_visible()
    expect(page.locator("#blend")).to_be_hidden()
    assert pixels(shown(page, "#exact")) == pixels(expected)


def test_nothing_of_a_result_stays_in_memory_where_the_cleaned_picture_does_not_come(page, bad, on_disk):
    page.evaluate("""() => {
        window.kept = new Set();
        const { createObjectURL: create, revokeObjectURL: revoke } = URL;
        URL.createObjectURL = (blob) => (kept.add(create(blob)), [...kept].at(-1));
        URL.revokeObjectURL = (url) => (kept.delete(url), revoke(url));
    }""")
    choose(page, "photos", on_disk(old=bad))
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Clean the whole picture").check()
    expect(page.locator("#faces-said")).to_have_text("One face was found.")
    refusal = '{"code": "internal", "subject": null, "reason": "It cannot be read", "hint": null}'
    page.route("**/result?*strength=0", lambda route: route.fulfill(status=500, body=refusal))
    page.locator("#restore").click()
    expect(page.locator("#problem")).to_have_text("It cannot be read.")
    assert page.evaluate("kept.size") == 2  # the photograph, and the result
    page.get_by_role("button", name="Start over").click()
    page.locator("#welcome").wait_for()
    assert page.evaluate("kept.size") == 0
