"""`faceref restore` says what stands in the way of this photograph, and what to do about it."""

import pytest
from invented_album import save_album
from outcome import files
from PIL import Image, ImageOps

from faceref.app.cli.wording import left_alone
from faceref.restore.account import FaceAccount
from faceref.restore.left_alone import LeftAlone


def test_what_is_wrong_with_a_file_is_said_beside_why_nothing_was_restored(restore, album, half_a_meadow):
    done = restore(half_a_meadow, "--ref", album / "references")
    assert done.code == 1
    warning, error = done.errors.splitlines()
    assert warning.startswith(f"Warning: {half_a_meadow} is truncated: ")
    assert error.startswith("No face was found in")


def test_of_several_faces_that_may_be_the_person_one_is_to_be_chosen(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        pair = Image.new("RGB", (2 * photo.width, photo.height))
        for x, negative in ((0, photo), (photo.width, ImageOps.mirror(photo))):
            pair.paste(negative, (x, 0))
        pair.save(album / "two.png")
        ImageOps.solarize(photo, 150).save(album / "negative.png")
    done = restore(album / "two.png", "--detector", "dlib", "--ref", album / "negative.png")
    assert done.code == 1
    assert done.errors.endswith("say which with --face N, or give more photographs of the person.\n")


@pytest.mark.parametrize(
    ("choice", "code", "hint"),
    [
        (2, "nobody", " (give that person's photographs or --person alone, or --unknown blind)"),
        ("largest", "not_sure", " (give that person's photographs or --person alone, or --unknown blind)"),
        (None, "nobody", ""),
        ("all", "nobody", ""),
        (2, "not_chosen", ""),
        (None, "background", " (--face N or --always restores it)"),
        (None, "small", " (--background lanczos --scale 4 makes it larger, and restores it)"),
    ],
)
def test_whoever_has_chosen_a_face_that_was_left_alone_is_told_what_to_do(choice, code, hint):
    face = FaceAccount.model_construct(left_alone=LeftAlone(code).reason, left_alone_code=LeftAlone(code))
    assert left_alone(face, choice) == f"left alone: {LeftAlone(code).reason}{hint}"


def test_after_two_dashes_there_are_photographs_alone(faceref, tiny_model, album, monkeypatch):
    monkeypatch.chdir(album)
    (album / "photo.jpg").rename(album / "-oma.jpg")
    (album / "-v").write_bytes((album / "-oma.jpg").read_bytes())
    options = ("--model", tiny_model, "--always", "-o", "out", "--ref", "references/new.jpg")
    done = faceref("restore", *options, "--", "-oma.jpg", "-v")
    assert done.code == 0, done.errors
    assert files(album / "out") == {"-oma_restored.jpg", "-v_restored.jpg"}


def test_a_photograph_whose_name_begins_with_a_dash_is_told_how_to_be_written(faceref, restore, album, monkeypatch):
    monkeypatch.chdir(album)
    (album / "photo.jpg").rename(album / "-oma.jpg")
    done = restore("-oma.jpg", "--ref", "references")
    assert (done.code, done.errors) == (2, "-oma.jpg begins as an option does; write ./-oma.jpg.\n")
    assert restore("./-oma.jpg", "--ref", "references").code == 0
    nothing = faceref("restore", "--ref", "references", "--")
    assert nothing.errors.startswith("No photograph to restore was given; ")


def test_a_chosen_face_that_nobody_of_an_album_surely_is_is_told_so_in_its_row(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        save_album(album / "album", photo)
        ImageOps.invert(photo).save(album / "stranger.png")
    done = restore(album / "stranger.png", "--ref", album / "album", "--face", 1, "--detector", "dlib")
    assert done.code == 0, done.errors
    assert "(give that person's photographs or --person alone, or --unknown blind)" in done.output
    assert not (album / "stranger_restored.png").exists()
