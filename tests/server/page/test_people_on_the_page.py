"""People are enrolled and managed on the page, and a server with tokens is asked for its own."""

import pytest
from playwright.sync_api import expect
from serving import TOKENS, listening, png
from visiting import choose, restore, wait_for_faces

from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.client import Client


@pytest.fixture
def people(page):
    """The window of people."""
    page.locator("#open-people").click()
    return page.get_by_role("dialog", name="People")


def test_people_are_enrolled_added_to_seen_renamed_merged_and_removed(
    served, page, people, portrait, bad, wall, on_disk
):
    good, other, grey = on_disk(good=portrait, other=bad, wall=wall)
    for name, photos in (("Eileen", [good, grey]), ("Collins", [other])):
        people.get_by_label("Name", exact=True).fill(name)
        choose(page, "enroll", photos)
        people.get_by_role("button", name="Enroll").click()
        people.get_by_role("listitem").filter(has_text=name).first.wait_for()
        if grey in photos:
            expect(people.get_by_role("alert")).to_have_text("wall.png was left out: no face was found in it.")
    with page.expect_file_chooser() as chooser:
        people.get_by_role("button", name="Add photographs").nth(1).click()
    chooser.value.set_files([other])
    expect(people.locator("#enrolled .hint").last).to_have_text("2 photographs")
    people.get_by_role("button", name="Show faces").last.click()
    expect(people.get_by_role("img", name="Eileen, photograph 2")).to_be_visible()
    people.get_by_role("button", name="Rename").last.click()
    people.get_by_label("New name of Eileen").fill("Eileen Marie")
    people.get_by_label("New name of Eileen").press("Enter")
    people.get_by_label("Collins is the same person as").select_option("Eileen Marie")
    people.get_by_role("button", name="Make Collins and Eileen Marie one for good").click()
    expect(people.locator("#enrolled strong")).to_have_text(["Eileen Marie"])
    with Client(served.address) as client:
        assert [(one.name, one.references) for one in client.people()] == [("Eileen Marie", 2)]
        people.get_by_role("button", name="Remove").dblclick()
        page.wait_for_timeout(200)
        assert len(client.people()) == 1  # it asks once more
        people.get_by_role("button", name="Forget Eileen Marie for good").click()
        expect(people.locator("#enrolled strong")).to_have_count(0)
        assert client.people() == []


def test_a_person_without_photographs_is_not_enrolled_and_that_is_said(page, people):
    people.get_by_label("Name", exact=True).fill("Eileen")
    people.get_by_role("button", name="Enroll").click()
    expect(people.get_by_role("alert")).to_have_text("Add good photographs of this person first.")


def test_a_name_that_is_taken_is_said_in_the_window(page, people, served, reference, portrait, on_disk):
    with Client(served.address) as client:
        client.enroll("Eileen", [reference])
    people.get_by_label("Name", exact=True).fill("eileen")
    choose(page, "enroll", on_disk(good=portrait))
    people.get_by_role("button", name="Enroll").click()
    said = "'eileen' is enrolled already; add the photographs to them, or choose another name."
    expect(people.get_by_role("alert")).to_have_text(said)


def test_the_person_of_the_references_is_remembered(served, page, portrait, bad, on_disk):
    photo, good = on_disk(old=bad, good=portrait)
    choose(page, "photos", [photo])
    wait_for_faces(page, 1)
    choose(page, "references", [good])
    page.get_by_label("Name of this person").fill("Eileen")
    page.get_by_role("button", name="Remember").click()
    expect(page.get_by_role("radio", name="People")).to_be_checked()
    expect(page.get_by_role("checkbox", name="Eileen")).to_be_checked()
    expect(page.locator("#faces strong")).to_have_text("1 Eileen")


def test_more_photographs_of_who_is_looked_for_ask_for_another_restoration(
    served, page, portrait, bad, reference, on_disk
):
    with Client(served.address) as client:
        client.enroll("Eileen", [reference])
        client.enroll("Uncle", [png(portrait.rotate(8))])
    page.reload()
    choose(page, "photos", on_disk(old=bad))
    page.get_by_role("radio", name="People").check()
    page.get_by_role("checkbox", name="Uncle").uncheck()
    expect(page.locator("#faces strong")).to_have_text("1 Eileen")
    people, again = page.get_by_role("dialog", name="People"), page.get_by_role("button", name="Restore again")
    restore(page)
    page.locator("#open-people").click()
    with page.expect_file_chooser() as chooser:
        people.get_by_role("button", name="Add photographs").first.click()
    chooser.value.set_files(on_disk(more=portrait.rotate(5)))
    people.get_by_role("button", name="Close").click()
    again.click()
    expect(again).to_be_hidden()
    page.locator("#outcome").wait_for()
    page.locator("#open-people").click()
    people.get_by_label("Uncle is the same person as").select_option("Eileen")
    people.get_by_role("button", name="Make Uncle and Eileen one for good").click()
    people.get_by_role("button", name="Close").click()
    expect(again).to_be_visible()


def test_people_are_those_of_now_whoever_has_changed_them(served, page, portrait, bad, reference, stranger, on_disk):
    page.locator("#model").filter(has_text="tiny").wait_for(state="attached")
    with Client(served.address) as client:
        client.enroll("Eileen", [png(stranger)])
        page.locator("#open-people").click()
        people = page.get_by_role("dialog", name="People")
        expect(people.locator("#enrolled strong")).to_have_text(["Eileen"])
        people.get_by_role("button", name="Close").click()
        choose(page, "photos", on_disk(old=bad))
        page.get_by_role("radio", name="People").check()
        expect(page.locator("#faces strong")).to_have_text("Face 1")
        client.add("Eileen", [reference])
        client.enroll("Uncle", [png(portrait.rotate(8))])
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # one comes back to the tab
        expect(page.locator("#chosen-people label")).to_have_text(["Eileen", "Uncle"])
        expect(page.locator("#faces strong")).to_have_text("1 Eileen")  # it was looked for her anew
        page.context.set_offline(True)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(200)
        expect(page.locator("#message")).to_be_hidden()
        page.locator("#open-people").click()
        expect(people.get_by_role("alert")).to_contain_text("The server does not answer")


def test_no_more_people_are_looked_for_by_themselves_than_the_server_takes(
    visit, held, tmp_path, reference, bad, on_disk
):
    with listening(create_app(held, (), tmp_path / "few", Limits(people=2))) as address:
        with Client(address) as client:
            for name in ("Ada", "Barbara", "Eileen"):
                client.enroll(name, [reference])
        page = visit(address)
        page.locator("#model").filter(has_text="tiny").wait_for(state="attached")
        choose(page, "photos", on_disk(old=bad))
        page.get_by_role("radio", name="People").check()
        expect(page.locator("#chosen-people :checked")).to_have_count(2)
        page.context.close()


def test_a_server_with_tokens_asks_once_for_one(visit, held, tmp_path, bad, on_disk):
    with listening(create_app(held, TOKENS, tmp_path / "tokens")) as address:
        page = visit(address)
        asked = page.get_by_role("dialog", name="This server asks for a token")
        refused = asked.get_by_role("alert")
        expect(refused).to_be_hidden()
        for token in ("a wrong token, a wrong one", f"{TOKENS[0]}\u200b"):  # copied along with what nobody sees
            asked.get_by_label("Token").fill(token)
            asked.get_by_role("button", name="Go on").click()
            if token != f"{TOKENS[0]}\u200b":
                expect(refused).to_have_text("The server does not take that one.")
        choose(page, "photos", on_disk(old=bad))
        wait_for_faces(page, 1)
        page.reload()
        page.locator("#model").filter(has_text="tiny").wait_for(state="attached")
        expect(asked).to_be_hidden()
        page.context.close()
