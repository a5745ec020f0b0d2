"""`faceref people`, and restoring with people who are kept: the same pixels as with their photographs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from faceref.people.library import Library
from faceref.people.person import FACE_SIZE, Person, Reference


@pytest.fixture
def people(faceref, tmp_path):
    """`faceref people COMMAND ...` on a library of the test's own."""
    return lambda command, *arguments: faceref("people", command, *arguments, "--data-dir", tmp_path / "kept")


@pytest.fixture
def restore(faceref, tiny_model, tmp_path):
    return lambda *arguments: faceref(
        "restore", *arguments, "--model", tiny_model, "--data-dir", tmp_path / "kept", "--json", "--always"
    )


def test_an_enrolled_person_restores_like_their_photographs(people, restore, album):
    done = people("enroll", "Eileen Collins", album / "references")
    assert (done.code, done.output) == (0, "Eileen Collins: 1 reference\n"), done.errors
    results = []
    for how in (("--ref", album / "references"), ("--person", "eileen collins")):
        done = restore(album / "photo.jpg", *how, "-o", album / "result.png")
        assert done.code == 0, done.errors
        with Image.open(album / "result.png") as result:
            results.append((np.asarray(result), json.loads(done.output)["faces"][0]))
    (given, _), (kept, account) = results
    assert np.array_equal(given, kept)
    assert (account["person"], len(account["references"])) == ("Eileen Collins", 1)


def test_photographs_in_which_a_face_shows_little_are_named(people, album):
    (good,) = (album / "references").iterdir()
    with Image.open(good) as photograph:
        photograph.filter(ImageFilter.GaussianBlur(4)).save(album / "references" / "blurred.png")
        small = photograph.resize((photograph.width // 6, photograph.height // 6))
        small.resize(photograph.size).save(album / "references" / "enlarged.png")
    done = people("enroll", "Eileen", album / "references")
    assert done.output == "Eileen: 3 references\n"
    (said,) = (line for line in done.errors.splitlines() if "shows little" in line)
    assert "blurred.png and " in said
    assert "enlarged.png are so blurred, noisy or small" in said
    assert str(good) not in said


def test_people_are_listed_drawn_renamed_and_removed(people, album, monkeypatch):
    monkeypatch.chdir(album)
    people("enroll", "Eileen", album / "references")
    done = people("rename", "eileen", "Eileen Collins")
    assert (done.code, done.output) == (0, "Eileen is now Eileen Collins\n")
    assert "Eileen Collins" in people("list").output
    assert people("show", "Eileen Collins").code == 0
    with Image.open("Eileen Collins_faces.png") as sheet:
        assert sheet.size == (216, 269)  # a face, its name, the title, and paper around them
    assert "0 new references, 1 in all" in people("add", "Eileen Collins", album / "references").output
    people("enroll", "Marie", album / "references")
    done = people("merge", "eileen collins", "marie")
    assert (done.code, done.output) == (0, "Marie is now Eileen Collins: 1 reference\n")
    assert people("remove", "eileen collins").output.startswith("Eileen Collins is removed; ")
    assert "Eileen" not in people("list").output


def test_a_sheet_replaces_no_photograph(people, album, monkeypatch):
    monkeypatch.chdir(album)
    people("enroll", "Eileen", album / "references")
    photo = (album / "references" / "new.jpg").read_bytes()
    (album / "Eileen_faces.png").write_bytes(photo)
    done = people("show", "Eileen")
    assert (done.code, "is there already and is no result of ours" in done.errors) == (1, True)
    assert (album / "Eileen_faces.png").read_bytes() == photo
    assert [people("show", "Eileen", "-o", "sheet.png").code for _ in range(2)] == [0, 0]  # it replaces itself


def test_a_name_that_is_taken_is_said_before_photographs_are_read(people, album, tmp_path):
    people("enroll", "Eileen", album / "references")
    done = people("enroll", "eileen", tmp_path / "not even looked for")
    assert (done.code, done.errors.startswith("'eileen' is enrolled already")) == (2, True)


def test_who_is_renamed_while_photographs_are_read_is_whom_they_are_added_to(people, album, tmp_path, monkeypatch):
    library, face = Library(tmp_path / "kept"), Image.new("RGB", (FACE_SIZE, FACE_SIZE))
    first, second, third = (
        Person((Reference(f"{n}.png", face, np.zeros(128, np.float32), f"{n}" * 64, ()),)) for n in (1, 2, 3)
    )
    library.enroll("Eileen", first)
    library.enroll("Collins", second)

    def read_and_renamed(*_: object) -> Person:
        library.rename("Eileen", "Marie")
        library.rename("Collins", "Eileen")
        return third

    monkeypatch.setattr("faceref.app.cli.people._read", read_and_renamed)
    assert people("add", "Eileen", album / "references").output == "Marie: 1 new reference, 2 in all\n"
    assert [(one.name, one.references) for one in library.everybody()] == [("Eileen", 1), ("Marie", 2)]


@pytest.mark.parametrize("command", ["add", "merge"])
def test_whoever_seems_to_be_somebody_else_is_said_when_there_are_more_references(people, album, tmp_path, command):
    far, face = np.zeros(128, np.float32), Image.new("RGB", (FACE_SIZE, FACE_SIZE))  # from anybody
    other = Person((Reference("other.png", face, far, "0" * 64, ()),))
    Library(tmp_path / "kept").enroll("Eileen", other)
    people("enroll", "Marie", album / "references")
    done = people(command, "Eileen", album / "references" if command == "add" else "Marie")
    assert done.code == 0
    assert "other.png" in done.errors
    assert "somebody else" in done.errors


@pytest.mark.parametrize("command", ["enroll", "add"])
def test_whoever_seems_to_be_somebody_else_is_said_once(people, album, tmp_path, monkeypatch, command):
    near, far = np.zeros(128, np.float32), np.ones(128, np.float32)
    face = Image.new("RGB", (FACE_SIZE, FACE_SIZE))
    read = Person(tuple(Reference(f"{n}.png", face, far if n == 3 else near, f"{n}" * 64, ()) for n in (1, 2, 3)))
    monkeypatch.setattr("faceref.people.references.read_person", lambda *_, **__: read)
    if command == "add":
        Library(tmp_path / "kept").enroll("Eileen", Person(read.references[:1]))
    done = people(command, "eileen", album / "references")
    assert done.code == 0
    assert done.errors.count("3.png seems to show somebody else") == 1
    assert done.output.startswith("Eileen: 2 new" if command == "add" else "eileen: 3 references")


def test_people_are_found_on_the_photographs_of_an_album(people, album, wall):
    people("enroll", "Eileen", album / "references")
    done = people("find", album, "--json")
    assert done.code == 0, done.errors
    found = [json.loads(line) for line in done.output.splitlines()]
    assert {(one["person"], Path(one["photo"]).name) for one in found} == {
        ("Eileen", "photo.jpg"),
        ("Eileen", "new.jpg"),
    }
    table = people("find", album / "photo.jpg", wall).output
    assert f"{album / 'photo.jpg'}" in table
    assert "1 of 2 photographs" in table


def test_all_copies_of_a_photograph_are_found(people, album):
    people("enroll", "Eileen", album / "references")
    shutil.copy(album / "photo.jpg", album / "copy.jpg")
    done = people("find", album)
    assert "3 of 3 photographs" in done.output
    assert {name for name in ("photo.jpg", "copy.jpg", "new.jpg") if f"{name} " in done.output} == {
        "photo.jpg", "copy.jpg", "new.jpg"
    }  # fmt: skip


def test_what_was_seen_of_a_person_in_albums_is_forgotten_with_them(people, album, tmp_path):
    def traces() -> list[bytes]:
        """What tells of the photographs that anything kept holds."""
        kept = b"".join(path.read_bytes() for path in (tmp_path / "kept").iterdir())
        return [trace for trace in (b"photo.jpg", b"new.jpg", embedding) if trace in kept]

    people("enroll", "Eileen", album / "references")
    embedding = Library(tmp_path / "kept").get("Eileen").embeddings[0].tobytes()
    people("find", album)
    assert len(traces()) == 3, "or the test could not fail"
    done = people("remove", "Eileen")
    assert (done.code, done.output) == (
        0,
        "Eileen is removed; sheets (Eileen_faces.png) and exports of theirs stay where they were written\n"
        "forgotten: what was seen in 2 photographs of albums\n",
    )
    assert traces() == []


def test_albums_are_forgotten_and_looked_at_anew(people, album, tmp_path):
    assert people("forget-albums").output == "forgotten: what was seen in 0 photographs of albums\n"
    assert not (tmp_path / "kept").exists()
    people("enroll", "Eileen", album / "references")
    people("find", album)
    assert people("forget-albums").output == "forgotten: what was seen in 2 photographs of albums\n"
    assert "Eileen" in people("list").output
    assert "2 of 2 photographs" in people("find", album).output


def test_a_place_where_nothing_can_be_remembered_ends_no_restoration(faceref, tiny_model, album, wall, caplog):
    how = ("--model", tiny_model, "--data-dir", wall, "-o", album / "result.png", "--always", "--json")
    done = faceref("restore", album / "photo.jpg", "--ref", album / "references", *how)
    assert done.code == 0, done.errors
    assert json.loads(done.output)["faces"][0]["restored"]
    assert [message for message in caplog.messages if "not remembered" in message] == [
        f"What is seen in albums is not remembered: {wall / 'albums.sqlite'} cannot be written because a part of its "
        "path is a file; choose another folder."
    ]


def test_nobody_can_be_found_before_anybody_is_enrolled(people, album):
    done = people("find", album)
    assert (done.code, done.errors) == (
        2,
        "Nobody is enrolled, so that nobody can be found; enroll people first.\n",
    )


def test_people_travel_to_another_machine(people, faceref, album):
    people("enroll", "Eileen", album / "references")
    assert people("export", album / "all.people").code == 0
    done = faceref("people", "import", album / "all.people", "--data-dir", album / "elsewhere")
    assert (done.code, done.output) == (0, "Eileen\n")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("enroll", "a/b", "references"), "'a/b' cannot be a person's name; use 1 to 100 characters"),
        (("enroll", "Eileen", "nowhere"), "nowhere does not exist; check the name."),
        (("show", "Eileen"), "Nobody is enrolled as 'Eileen'; enroll people first"),
        (("import", "photo.jpg"), "photo.jpg is damaged (file is not a database)"),
    ],
)
def test_what_is_wrong_is_one_sentence(people, album, monkeypatch, command, says):
    monkeypatch.chdir(album)
    done = people(*command)
    assert done.code in (1, 2)
    assert done.errors.count("\n") == 1
    assert says in done.errors
    assert not Path("kept").exists()


def test_references_and_people_together_are_refused(restore, album):
    done = restore(album / "photo.jpg", "--person", "Eileen", "--ref", album / "references")
    assert done.code == 2
    assert done.errors.startswith("Give either --ref")
