"""A photograph and an album: each face with its own person's references, chosen for it; nobody is guessed."""

from pathlib import Path

import pytest
from invented_album import save_album, variants
from PIL import Image, ImageOps
from restoring import restore

from faceref.errors import NoReferenceError


@pytest.fixture
def album(portrait, tmp_path) -> Path:
    return save_album(tmp_path / "album", portrait)


def files(names: list[str]) -> set[str]:
    return {Path(name).name for name in names}


def test_each_face_of_a_photograph_is_restored_with_its_own_persons_photographs(restorer, couple, album):
    faces = restore(restorer, couple, album).account().faces
    assert [files(face.references) for face in faces] == [
        {"4.png", "5.png", "6.png"},
        {"1.png", "2.png", "3.png", "6.png"},
    ]
    for face in faces:
        best, second = face.matches
        assert face.matched
        assert best.certainty > 0.9 > 0.1 > second.certainty
        assert best.files == face.references


def test_what_of_an_album_cannot_be_used_is_said(restorer, couple, album):
    (album / "0.jpg").write_text("not a picture")
    left_out = restore(restorer, couple, album).account().references_left_out
    assert [(Path(one.name).name, one.reason[:19]) for one in left_out] == [("0.jpg", "it is not a picture")]


def test_the_library_remembers_nothing_unless_it_is_given_an_index(restorer, album, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_: pytest.fail("the user's cache folder is used"))
    assert len(restorer.people(album)) == 2


def test_one_persons_photographs_are_read_as_before(restorer, portrait, album):
    for number in (4, 5, 6):
        (album / f"{number}.png").unlink()
    from_folder = restore(restorer, portrait, album)
    from_files = restore(restorer, portrait, sorted(album.iterdir()))
    assert from_folder.image.tobytes() == from_files.image.tobytes()
    assert [person.expected for person in from_folder.people] == [True]


def test_a_face_that_is_not_in_the_album_is_left_alone_or_restored_without_references(restorer, portrait, album):
    somebody_else = ImageOps.invert(portrait)  # dlib's distance to the astronaut is 0.86
    people = restorer.people(album)
    skipped, blind = (restore(restorer, somebody_else, people, unknown=unknown) for unknown in ("skip", "blind"))
    assert skipped.faces == ()
    assert skipped.account().faces[0].left_alone == "it is not surely anybody whose references were given"
    assert [face.person for face in blind.faces] == [None]
    assert not any("No references" in warning for warning in blind.warnings)


def test_two_who_are_alike_are_not_told_apart_by_a_guess(restorer, portrait, album):
    twins = [restorer.person(album / f"{number}.png") for number in (1, 2)]
    (face,) = restore(restorer, portrait, twins).account().faces
    assert (face.restored, face.matched) == (False, False)
    assert face.left_alone == "it is not sure which of the people it is"
    assert all(0.3 < match.certainty < 0.7 for match in face.matches)


def test_a_photograph_of_the_album_is_restored_with_the_others(restorer, couple, album):
    couple.save(album / "7.png")
    account = restore(restorer, album / "7.png", restorer.people(album)).account()
    assert [files(face.references) for face in account.faces] == [
        {"4.png", "5.png", "6.png"},
        {"1.png", "2.png", "3.png", "6.png"},
    ]
    assert {(Path(one.name).name, one.reason) for one in account.references_left_out} == {
        ("7.png", "it is the photograph to be restored")
    }


def test_an_album_that_is_the_photograph_or_without_a_face_is_one_sentence(restorer, portrait, tmp_path):
    (tmp_path / "album").mkdir()
    portrait.save(tmp_path / "album" / "photo.png")
    with pytest.raises(
        NoReferenceError, match=r"None of the references can be used .*it is the photograph to be restored"
    ):
        restore(restorer, tmp_path / "album" / "photo.png", tmp_path / "album")
    (tmp_path / "walls").mkdir()
    for number in range(8):
        Image.new("RGB", (200, 200), (number, 100, 100)).save(tmp_path / "walls" / f"{number}.png")
    with pytest.raises(NoReferenceError, match=r"4\.png: no face was found in it; and 3 more\)"):
        restore(restorer, portrait, tmp_path / "walls")


def test_a_photograph_that_vanishes_after_it_was_looked_at_is_left_out(restorer, couple, album):
    people = restorer.people(album)
    (album / "2.png").unlink()
    account = restore(restorer, couple, people).account()
    assert files(account.faces[1].references) == {"1.png", "3.png", "6.png"}
    assert [(Path(one.name).name, one.reason) for one in account.references_left_out] == [
        ("2.png", "it does not exist; check the name")
    ]


def test_no_more_references_than_allowed_are_shown_also_of_one_person(restorer, portrait):
    few = restore(restorer, portrait, variants(portrait), max_refs=2).account().faces[0]
    assert len(few.references) == 2
    assert len(restore(restorer, portrait, variants(portrait)).account().faces[0].references) == 4
