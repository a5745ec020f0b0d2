"""People over HTTP, and whose they are: a token sees its own, a web site from elsewhere nothing."""

import io
import re
import weakref
from threading import Thread

import pytest
from PIL import Image, ImageFilter
from serving import FULLY, TOKENS, png

from faceref.app.server.schema import State
from faceref.client import Client, ServerError
from faceref.people.album import read_album
from faceref.people.album_index import AlbumIndex, Stamp
from faceref.people.library import Library
from faceref.restore.options import ByHand


def test_a_single_photograph_and_name_need_no_list(client, photo, reference, tmp_path):
    (tmp_path / "reference.png").write_bytes(reference)
    client.enroll("Eileen", tmp_path / "reference.png")
    assert client.add("Eileen", reference).new == 0
    by_name = client.restore(photo, people="Eileen", options=FULLY)
    assert by_name.account.faces[0].person == "Eileen"
    assert client.restore(photo, str(tmp_path / "reference.png"), options=FULLY).data == by_name.data
    assert client.faces(photo, reference, options={"always": True}).faces[0].matched


def test_an_enrolled_person_restores_like_their_photographs(client, photo, reference, wall):
    enrolled = client.enroll("Eileen", [reference, wall])
    assert (enrolled.references, enrolled.references_left_out[0].reason) == (1, "no face was found in it")
    by_name = client.restore(photo, people=["eileen"], options=FULLY)
    assert by_name.data == client.restore(photo, [reference], options=FULLY).data
    assert by_name.account.faces[0].person == "Eileen"


def test_people_are_listed_read_renamed_merged_and_removed(client, photo, reference):
    client.enroll("Eileen", [reference])
    client.enroll("Collins", [photo])
    client.rename("eileen", "Eileen Marie & Collins")
    assert [one.name for one in client.people()] == ["Collins", "Eileen Marie & Collins"]
    client.merge("Eileen Marie & Collins", "Collins")
    assert client.person("eileen marie & collins").references == ["photograph 1", "photograph 2"]
    with Image.open(io.BytesIO(client.face("Eileen Marie & Collins", 2))) as face:
        assert (face.format, face.size) == ("JPEG", (512, 512))
    with pytest.raises(ServerError, match="has 2 references"):
        client.face("Eileen Marie & Collins", 3)
    client.remove("Eileen Marie & Collins")
    assert client.people() == []


def test_of_whoever_is_removed_nothing_stays_in_memory(serve, reference):
    http = serve()
    client = Client(http=http)
    client.enroll("Eileen", [reference])
    client.face("Eileen", 1)
    (kept,) = (weakref.ref(person) for _, person in http.app.state.service.people._kept.values())
    client.remove("eileen")
    assert kept() is None


def test_what_was_seen_in_albums_is_forgotten_with_a_person(client, reference, tmp_path, restorer):
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "album" / name).write_bytes(reference)
    index = AlbumIndex(tmp_path / "kept")  # where the command has its own of this computer's user
    read_album([tmp_path / "album"], restorer.detector, restorer.recogniser, index)
    files = {path: Stamp.of(path) for path in (tmp_path / "album").iterdir()}
    assert set(index.digests(files)) == set(files)
    client.enroll("Eileen", [reference])
    client.remove("Eileen")
    assert (index.digests(files), index.clear()) == ({}, 0)


def test_more_photographs_are_added_and_show_at_once(client, photo, reference, wall):
    client.enroll("Eileen", [reference])
    alone = client.restore(photo, people=["Eileen"], options=FULLY)
    more = png(Image.open(io.BytesIO(reference)).rotate(5))
    added = client.add("eileen", [reference, more, wall])
    assert (added.new, added.references, len(added.references_left_out)) == (1, 2, 1)
    both = client.restore(photo, people=["Eileen"], options=FULLY)
    assert both.data == client.restore(photo, [reference, more], options=FULLY).data != alone.data
    with pytest.raises(ServerError, match="Nobody is enrolled as 'Collins'"):
        client.add("Collins", [b"not even read"])


def test_of_one_person_no_more_photographs_are_kept_than_a_request_may_have(serve, reference):
    client = Client(http=serve(references=2))
    client.enroll("Eileen", [reference])
    turned = [png(Image.open(io.BytesIO(reference)).rotate(angle)) for angle in (4, 8)]
    with pytest.raises(ServerError, match="3 photographs of one person are too many; give at most 2"):
        client.add("Eileen", turned)
    assert client.add("Eileen", turned[:1]).references == 2
    assert client.add("Eileen", [reference, turned[0]]).new == 0  # those that are there do not count
    client.enroll("Collins", turned[1:])
    with pytest.raises(ServerError, match="3 photographs of one person are too many; give at most 2"):
        client.merge("Eileen", "Collins")
    client.enroll("Marie", turned[:1])
    client.merge("Eileen", "Marie")
    assert client.person("Eileen").references == ["photograph 1", "photograph 2"]


def test_a_name_that_is_taken_is_said_before_photographs_are_read(client, photo, reference):
    client.enroll("Eileen", [reference])
    client.enroll("Collins", [photo])
    taken = [lambda: client.enroll("eileen", [b"no picture"]), lambda: client.rename("Collins", "EILEEN")]
    for ask in taken:
        with pytest.raises(ServerError, match="is enrolled already") as error:
            ask()
        assert (error.value.status, error.value.code) == (409, "person_exists")


def test_a_photograph_in_which_the_face_shows_little_is_named_by_its_number(client, reference, portrait):
    blurred = png(portrait.filter(ImageFilter.GaussianBlur(4)))
    assert client.enroll("Ada", [reference]).warnings == []
    (warning,) = client.add("Ada", [blurred]).warnings
    assert warning.startswith("photograph 2 is so blurred, noisy or small")


def test_warnings_name_photographs_by_the_numbers_of_their_faces(client, reference, monkeypatch):
    monkeypatch.setattr("faceref.people.person.SAME_PERSON_DISTANCE", 0.0)
    client.enroll("Eileen", [reference])
    added = client.add("Eileen", [png(Image.open(io.BytesIO(reference)).rotate(4))])
    (warning,) = added.warnings
    assert {"photograph 1", "photograph 2"} <= set(re.findall(r"\w+ \d\b", warning))


@pytest.mark.parametrize("by", ["HTTP", "the command"])
def test_a_job_that_waits_keeps_its_people_whatever_they_are_called(serve, held, photo, reference, tmp_path, by):
    client = Client(http=serve(by=held))
    people = client if by == "HTTP" else Library(tmp_path / "kept")
    turned = [png(Image.open(io.BytesIO(reference)).rotate(angle)) for angle in (4, 8)]
    client.enroll("Eileen", turned[:1])
    client.enroll("Collins", turned[1:])
    first = client.submit(photo, options=FULLY)
    assert held.begun.wait(60)
    said = ByHand(face=1, become="person", person="eileen")
    by_name = client.submit(photo, people=["Eileen"], options=FULLY)
    by_hand = client.submit(photo, people=["Eileen"], options=FULLY.model_copy(update={"by_hand": (said,)}))
    of_two = client.submit(photo, people=["Collins"], options=FULLY)
    people.rename("Eileen", "Marie")
    client.enroll("Eileen", [photo])  # somebody else, whose only photograph is the one to be restored
    people.merge("Marie", "Collins")
    held.go.set()
    for job, references in ((first, 0), (by_name, 2), (by_hand, 2), (of_two, 2)):
        done = list(client.follow(job.id))[-1]
        assert done.state == State.DONE, done.problem
        assert done.account is not None
        assert (len(done.account.faces[0].references), done.account.faces[0].person) == (
            references,
            "Marie" if references else None,
        )


def test_who_is_renamed_while_a_job_is_accepted_is_whom_it_looks_for(client, photo, reference, monkeypatch):
    client.enroll("Eileen", [reference])
    renaming = Thread(target=lambda: client.rename("Eileen", "Marie"))
    stamp = Library.stamp

    def stamp_and_rename(library: Library, name: str):
        found = stamp(library, name)
        if renaming.ident is None:
            renaming.start()
            renaming.join(1)  # or until the job is there, for which it may have to wait
        return found

    monkeypatch.setattr(Library, "stamp", stamp_and_rename)
    job = client.submit(photo, people=["Eileen"], options=FULLY)
    done = list(client.follow(job.id))[-1]
    assert done.account is not None, done.problem
    assert done.account.faces[0].person == "Marie"


def test_a_job_that_waits_is_not_done_for_somebody_else_who_has_the_name(serve, held, photo, reference):
    client = Client(http=serve(by=held))
    turned = [png(Image.open(io.BytesIO(reference)).rotate(angle)) for angle in (4, 8)]
    client.enroll("Eileen", [reference])
    client.submit(photo, options=FULLY)
    assert held.begun.wait(60)
    hers = client.submit(photo, people=["Eileen"], options=FULLY)
    client.remove("Eileen")
    client.enroll("Eileen", turned[:1])
    others = client.submit(photo, people=["Eileen"], options=FULLY)
    client.add("Eileen", turned[1:])  # the same person, known by one more
    held.go.set()
    failed, done = (list(client.follow(job.id))[-1] for job in (hers, others))
    assert failed.problem is not None
    assert done.account is not None, done.problem
    reason = "Who was looked for is not enrolled any more, and somebody else has the name"
    assert (failed.problem.code, failed.problem.reason) == ("unknown_person", reason)
    assert len(done.account.faces[0].references) == 2


def test_faces_are_found_and_matched_without_restoring(client, photo, reference):
    client.enroll("Eileen", [reference])
    (face,) = client.faces(photo, people=["Eileen", "EILEEN"], options=FULLY).faces
    assert (face.restored, face.matches[0].person) == (False, "Eileen")
    assert face.matches[0].distance < 0.4


@pytest.mark.parametrize(
    ("ask", "status", "says"),
    [
        (lambda client, photo: client.submit(photo, people=["Nobody"]), 404, "Nobody is enrolled as 'Nobody'"),
        (lambda client, photo: client.submit(photo, [photo], ["Nobody"]), 400, "given together"),
        (lambda client, photo: client.rename("Nobody", "a/b"), 400, "cannot be a person's name"),
        (lambda client, photo: client.enroll("Nobody", [photo, b""]), 422, "Photograph 2 is empty"),
        (lambda client, photo: client.submit(photo, [photo, b"no picture"]), 422, "Reference 2 is not a picture"),
        (lambda client, photo: client.job("../people"), 404, "no such job|Not Found"),
        (lambda client, photo: client.person("."), 404, "Nobody is enrolled|Not Found"),
        (lambda client, photo: client.cancel(".."), 404, "no such job|Not Found"),
    ],
)
def test_what_cannot_be_done_is_said(client, photo, ask, status, says):
    with pytest.raises(ServerError, match=says) as error:
        ask(client, photo)
    assert error.value.status == status


def test_two_tokens_never_see_each_others_jobs_or_people(serve, photo, reference):
    http = serve(TOKENS)
    first, second = (Client(token=token, http=http) for token in TOKENS)
    first.enroll("Eileen", [reference])
    job = first.submit(photo, people=["Eileen"], options=FULLY, idempotency_key="a")
    assert second.people() == []
    hidden = [
        lambda: second.job(job.id),
        lambda: second.result(job.id),
        lambda: second.result(job.id, strength=0.5),
        lambda: second.cancel(job.id),
        lambda: list(second.follow(job.id)),
        lambda: second.person("Eileen"),
        lambda: second.face("Eileen", 1),
        lambda: second.add("Eileen", [reference]),
        lambda: second.rename("Eileen", "Marie"),
        lambda: second.remove("Eileen"),
        lambda: second.faces(photo, people=["Eileen"]),
        lambda: second.submit(photo, people=["Eileen"]),
    ]
    for part in ("photo", "references/1"):
        answer = http.get(f"/v1/jobs/{job.id}/{part}", headers={"Authorization": f"Bearer {TOKENS[1]}"})
        assert answer.json()["code"] == "no_job"
    for look in hidden:
        with pytest.raises(ServerError) as error:
            look()
        assert error.value.status == 404
    assert http.get(f"/v1/jobs/{job.id}/photo", headers=second._headers).status_code == 404
    assert second.submit(photo, options=FULLY, idempotency_key="a").id != job.id
    second.enroll("Eileen", [photo])  # somebody else of that name
    assert list(first.follow(job.id))[-1].state == State.DONE
    assert first.result(job.id)[0] == first.restore(photo, [reference], options=FULLY).data


@pytest.mark.parametrize("token", [None, "", "another token altogether"])
def test_nobody_is_let_in_without_a_token(serve, token):
    http = serve(TOKENS)
    with pytest.raises(ServerError, match="token is missing or wrong") as error:
        Client(token=token, http=http).people()
    assert error.value.status == 401
    assert http.get("/metrics").status_code == 401
    assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "["},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_web_site_from_elsewhere_cannot_use_the_browsers_user(serve, headers):
    assert serve().get("/v1/people", headers=headers).status_code == 403
