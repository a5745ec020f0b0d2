"""Many photographs at once, and what comes between: cancelling, a server that cannot be reached, a person renamed."""

import json
import re

import httpx2 as httpx
from playwright.sync_api import expect
from serving import png, until
from visiting import SET, choose, downloaded, job_id, pixels, restore, restore_half, shown, wait_for_faces

from faceref.app.server.schema import State
from faceref.client import Client


def test_eight_photographs_leave_the_page_connections_for_all_else(served, page, bad, on_disk):
    choose(page, "photos", on_disk(**{f"photo{number}": bad for number in range(8)}))
    served.held.go.clear()
    page.get_by_role("button", name="Restore 8 photographs").click()
    until(lambda: page.evaluate("JSON.parse(sessionStorage.getItem('faceref')).jobs.length") == 8)
    assert page.evaluate("fetch('/v1/people').then(({status}) => status)") == 200
    served.held.go.set()
    expect(page.locator("#status")).to_have_text("8 of 8 photographs restored")


def test_photographs_that_were_sent_before_they_were_looked_at_are_shown(page, bad, on_disk):
    held = []
    page.route("**/v1/faces", lambda route: held.append(route))  # the first is looked at, the others wait for that
    choose(page, "photos", on_disk(**{f"photo{number}": bad for number in range(3)}))
    until(lambda: page.wait_for_timeout(50) or bool(held))
    page.get_by_role("button", name="Restore 3 photographs").click()
    expect(page.locator("#status")).to_have_text("3 of 3 photographs restored")
    for number in range(3):
        page.get_by_role("button", name=f"photo{number}.png: done").click()
        expect(page.locator("#caption")).to_contain_text(f"photo{number}.png · {bad.width} × {bad.height}")
        expect(page.locator("#frame")).to_be_visible()
        expect(page.locator("#exact")).to_be_visible()


def test_what_was_cancelled_while_it_was_sent_is_neither_sent_nor_kept(served, page, bad, on_disk):
    choose(page, "photos", on_disk(**{f"photo{number}": bad for number in range(3)}))
    page.get_by_role("button", name="Restore 3 photographs").wait_for()
    held, sent = [], []
    page.route("**/v1/restore", lambda route: held.append(route) if not held else route.continue_())
    page.on("response", lambda answer: sent.append(answer) if answer.url.endswith("/v1/restore") else None)
    page.get_by_role("button", name="Restore 3 photographs").click()
    page.wait_for_timeout(200)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Restore 3 photographs").click()
    expect(page.locator("#status")).to_have_text("3 of 3 photographs restored")
    with page.expect_response(re.compile("/v1/restore")) as late:
        held[0].continue_()
    id = late.value.json()["id"]
    until(lambda: httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 404)
    assert len(sent) == 4
    assert len(json.loads(page.evaluate("sessionStorage.getItem('faceref')"))["jobs"]) == 3


def test_that_too_many_results_are_kept_is_said_and_not_waited_for(page, bad, on_disk):
    said = {"code": "too_many_kept", "subject": None, "reason": "256 of your jobs are kept already", "hint": None}
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    page.route("**/v1/restore", lambda route: route.fulfill(status=429, headers={"Retry-After": "3600"}, json=said))
    page.locator("#restore").click()
    expect(page.locator("#problem")).to_have_text("256 of your jobs are kept already.")


def test_what_a_proxy_does_not_let_through_is_said_in_a_sentence(page, bad, on_disk):
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    page.route("**/v1/restore", lambda route: route.fulfill(status=413, body="<h1>413 Request Entity Too Large</h1>"))
    page.locator("#restore").click()
    expect(page.locator("#problem")).to_have_text(
        "This is more than the proxy before the server lets through; give a smaller photograph, or fewer or smaller "
        "photographs of the person."
    )


def test_a_job_goes_on_while_the_server_cannot_be_reached(served, page, bad, on_disk):
    served.held.go.clear()
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore_half(page)
    id = job_id(page)
    page.route("**/v1/jobs/**", lambda route: route.abort())
    page.context.set_offline(True)
    served.held.go.set()
    expect(page.locator("#problem")).to_contain_text("The server does not answer")
    assert httpx.get(f"{served.address}/v1/jobs/{id}").json()["state"] in ("running", "done")
    page.context.set_offline(False)
    page.unroute("**/v1/jobs/**")
    page.locator("#outcome").wait_for()
    expect(page.locator("#problem")).to_be_hidden()


def test_jobs_outlive_a_proxy_that_answers_for_a_server_that_is_started_anew(served, page, bad, on_disk):
    served.held.go.clear()
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore_half(page)
    id = job_id(page)
    page.route("**/v1/jobs/**", lambda route: route.fulfill(status=502, body="Bad Gateway"))
    page.reload()
    expect(page.locator("#problem")).to_have_text("The answer was 502.")
    assert httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 200
    served.held.go.set()
    page.unroute("**/v1/jobs/**")
    page.locator("#outcome").wait_for()  # without being loaded once more
    expect(page.locator("#problem")).to_be_hidden()
    page.route("**/v1/jobs/**", lambda route: route.fulfill(status=502, body="Bad Gateway"))
    page.get_by_role("button", name="Start over").click()
    page.locator("#welcome").wait_for()
    assert httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 200
    page.unroute("**/v1/jobs/**")
    until(lambda: page.wait_for_timeout(100) or httpx.get(f"{served.address}/v1/jobs/{id}").status_code == 404)


def test_what_is_cancelled_while_its_result_is_made_visible_can_be_restored(page, bad, tmp_path):
    bad.save(tmp_path / "scan.tif")  # which browsers cannot show
    choose(page, "photos", [tmp_path / "scan.tif"])
    wait_for_faces(page, 1)
    held = []
    page.route("**/result?*preview=true*", lambda route: held.append(route))
    page.locator("#restore").click()
    until(lambda: page.wait_for_timeout(50) or bool(held))
    page.get_by_role("button", name="Cancel").click()
    held[0].continue_()
    page.unroute("**/result?*preview=true*")
    page.wait_for_timeout(300)
    expect(page.locator("#outcome")).to_be_hidden()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator("#outcome").wait_for()


def test_faces_are_listed_though_restoring_failed_before_they_were(page, bad, on_disk):
    held = []
    page.route("**/v1/faces", lambda route: held.append(route))
    choose(page, "photos", on_disk(old=bad))
    until(lambda: page.wait_for_timeout(50) or bool(held))
    refusal = '{"code": "time", "subject": null, "reason": "It took too long", "hint": null}'
    page.route("**/v1/restore", lambda route: route.fulfill(status=422, body=refusal))
    page.unroute("**/v1/faces")
    page.locator("#restore").click()
    wait_for_faces(page, 1)
    expect(page.locator("#problem")).to_have_text("It took too long.")


def test_who_is_said_to_be_on_one_photograph_is_looked_for_on_all(served, page, bad, reference, stranger, on_disk):
    with Client(served.address) as client:
        client.enroll("Grandma", [reference])
        client.enroll("Uncle", [png(stranger)])
    page.reload()
    choose(page, "photos", on_disk(one=bad, other=bad.rotate(3)))
    page.get_by_role("radio", name="People").check()
    page.get_by_role("checkbox", name="Uncle").uncheck()
    page.locator("#restore").click()
    expect(page.locator("#status")).to_have_text("2 of 2 photographs restored")
    page.get_by_label("What becomes of face 1").select_option("Uncle")
    expect(page.get_by_role("checkbox", name="Uncle")).to_be_checked()
    expect(page.get_by_role("button", name="Restore 2 photographs")).to_be_enabled()


def test_what_is_changed_meanwhile_asks_for_another_restoration(served, page, bad, portrait, on_disk):
    served.held.go.clear()
    photo, good = on_disk(old=bad, good=portrait)
    choose(page, "photos", [photo])
    wait_for_faces(page, 1)
    restore_half(page)
    choose(page, "references", [good])
    served.held.go.set()
    expect(page.get_by_role("button", name="Restore again")).to_be_enabled()


def test_faces_are_matched_anew_where_that_was_changed_before_it_was_cancelled(served, page, bad, portrait, on_disk):
    served.held.go.clear()
    photo, good = on_disk(old=bad, good=portrait)
    choose(page, "photos", [photo])
    choose(page, "references", [good])
    expect(page.locator("#faces strong")).to_have_text("1 Same person")
    restore_half(page)
    page.get_by_role("radio", name="Nobody").check()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#faces strong")).to_have_text("Face 1")


def test_a_picture_that_comes_when_it_was_restored_again_is_not_shown(served, page, bad, on_disk):
    choose(page, "photos", on_disk(old=bad))
    wait_for_faces(page, 1)
    restore(page)
    before, late = job_id(page), []
    page.route(f"**/{before}/result?*strength=0.4", lambda route: late.append((route, route.fetch())))
    page.locator("#strength").evaluate(SET.format(40))
    until(lambda: page.wait_for_timeout(50) or bool(late))
    page.get_by_text("Settings", exact=True).click()
    page.get_by_role("checkbox", name="Let colours change").check()
    with page.expect_response(lambda answer: "strength=0.4" in answer.url and before not in answer.url):
        page.get_by_role("button", name="Restore again").click()
    expect(page.locator("#exact")).to_be_visible()
    route, answer = late[0]
    route.fulfill(response=answer)
    page.wait_for_timeout(500)
    with Client(served.address) as client:
        expected = client.result(job_id(page), strength=0.4, keep=True)[0]
    assert downloaded(page, "#download")[1] == expected != answer.body()
    assert pixels(shown(page, "#exact")) == pixels(expected)


def test_who_is_renamed_is_still_looked_for(served, page, bad, reference, on_disk):
    with Client(served.address) as client:
        client.enroll("Grandma", [reference])
        client.enroll("Uncle", [reference])
        page.reload()
        choose(page, "photos", on_disk(old=bad))
        page.get_by_role("radio", name="People").check()
        page.get_by_role("checkbox", name="Grandma").check()
        page.get_by_role("checkbox", name="Uncle").uncheck()
        expect(page.locator("#faces strong")).to_have_text("1 Grandma")
        page.locator("#open-people").click()
        people = page.get_by_role("dialog")
        people.get_by_role("button", name="Rename").first.click()
        people.get_by_label("New name of Grandma").fill("Rose")
        people.get_by_label("New name of Grandma").press("Enter")
        expect(people.locator("#enrolled strong")).to_have_text(["Rose", "Uncle"])
        people.locator("[data-close]").click()
        expect(page.locator("#faces strong")).to_have_text("1 Rose")
        page.locator("#restore").click()
        page.locator("#outcome").wait_for()
        assert client.job(job_id(page)).state == State.DONE
        page.locator("#open-people").click()
        people.get_by_role("button", name="Rename").last.click()
        people.get_by_label("New name of Uncle").fill("Zoe")
        people.get_by_label("New name of Uncle").press("Enter")
        expect(people.locator("#enrolled strong")).to_have_text(["Rose", "Zoe"])
        people.locator("[data-close]").click()
        expect(page.get_by_role("button", name="Restore again")).to_be_hidden()  # nobody looked for Uncle
