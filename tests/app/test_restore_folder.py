"""`faceref restore FOLDER`: what it says at the end, before it begins, and about what it cannot do."""

import csv
import json
import os

import pytest
from PIL import Image


@pytest.fixture
def restore(faceref, tiny_model, album, wall):
    """`faceref restore` of a folder with a portrait and a wall, with the tiny model, although the portrait is good."""
    (album / "photos").mkdir()
    (album / "photo.jpg").rename(album / "photos" / "photo.jpg")
    wall.rename(album / "photos" / "wall.png")
    common = ("--model", tiny_model, "--always", "--ref", album / "references")
    return lambda *arguments: faceref("restore", album / "photos", *arguments, *common)


def test_a_folder_ends_with_a_line_a_summary_and_a_sheet(restore, album):
    done = restore("-o", album / "out")
    assert done.code == 0, done.errors
    assert f"{album / 'out' / 'summary.csv'}: 2 photographs: 1 restored, 1 copied; " in done.output
    assert f"; before and after: {album / 'out' / 'contact_sheet_1.png'}\n" in done.output
    with (album / "out" / "summary.csv").open(newline="") as file:
        rows = {row["photo"]: row for row in csv.DictReader(file)}
    assert rows["photo.jpg"]["restored"] == "1"
    assert "No face was found" in rows["wall.png"]["reason"]
    assert {path.name for path in (album / "out").iterdir()} == {
        "photo.jpg", "wall.png", "summary.csv", "contact_sheet_1.png", "restore.jsonl"
    }  # fmt: skip
    again = restore("-o", album / "out")
    assert "2 of them by an earlier run" in again.output


def test_what_is_wrong_with_a_photograph_without_a_face_is_in_the_summary(restore, album, half_a_meadow):
    half_a_meadow.rename(album / "photos" / "meadow.jpg")
    for _ in range(2):  # the second time from what was written down
        assert restore("-o", album / "out").code == 0
        with (album / "out" / "summary.csv").open(newline="") as file:
            rows = {row["photo"]: row for row in csv.DictReader(file)}
        assert rows["meadow.jpg"]["status"] == "copied"
        assert "meadow.jpg is truncated: " in rows["meadow.jpg"]["warnings"]
        assert rows["wall.png"]["warnings"] == ""


def test_how_many_photographs_have_warnings_is_said_at_the_end(restore, album, half_a_meadow):
    assert ": 2 photographs: 1 restored, 1 copied; 1 with warnings, which summary.csv tells; " in (
        restore("-o", album / "out").output  # the tiny model draws fewer pixels than the face has
    )
    half_a_meadow.rename(album / "photos" / "meadow.jpg")
    assert "; 2 with warnings, which summary.csv tells; " in restore("-o", album / "out").output
    (album / "photos" / "photo.jpg").unlink()
    (album / "photos" / "meadow.jpg").unlink()
    done = restore("-o", album / "wall").output
    assert done.endswith(": 1 photograph: 1 copied\n")


def test_how_many_files_were_not_looked_at_is_said_at_the_end(restore, album):
    assert "not looked at" not in restore("--dry-run").output
    (album / "photos" / "wall.png").rename(album / "photos" / "wall")
    assert restore("--dry-run").output.endswith("; not looked at: 1 file without a photograph's suffix\n")
    (album / "photos" / "1950").mkdir()
    (album / "photos" / "1950" / "notes.txt").write_text("summer")
    (album / "photos" / ".hidden").write_text("nobody's")
    done = restore("-o", album / "out").output
    assert "; not looked at: 2 files without a photograph's suffix; before and after: " in done
    assert ": 1 photograph: 1 restored; " in done


@pytest.mark.parametrize("name", ["summary.csv", "contact_sheet_holidays.png"])
def test_what_somebody_else_wrote_there_is_left_alone(restore, album, name):
    (album / "out").mkdir()
    (album / "out" / name).write_bytes((album / "photos" / "wall.png").read_bytes())
    done = restore("-o", album / "out")
    assert done.code == 1
    sentence = f"{album / 'out' / name} is there already and is none of ours; move it away or choose another folder.\n"
    assert done.errors == sentence
    assert {path.name for path in (album / "out").iterdir()} == {name}


def test_strengths_of_single_faces_are_for_several_processes_too(restore, album):
    done = restore("-o", album / "out", "--strength", "1:0.5", "--jobs", 2, "--json")
    assert done.code == 0, done.errors
    accounts = [json.loads(line)["account"] for line in done.output.splitlines()]
    assert [face["strength"] for account in accounts if account for face in account["faces"]] == [0.5]
    twice = restore("-o", album / "out", "--strength", "1:0.5", "--strength", "1:1")
    assert (twice.code, "cannot be '1:0.5,1:1': a face is given twice" in twice.errors) == (2, True)


def test_one_that_fails_is_said_and_counts(restore, album):
    (album / "photos" / "broken.jpg").write_bytes(b"")
    done = restore("-o", album / "out", "--json")
    assert done.code == 1
    assert done.errors.endswith(f"{album / 'photos' / 'broken.jpg'} is empty; it was probably not copied completely.\n")
    outcomes = [json.loads(line) for line in done.output.splitlines()]
    assert {outcome["photo"]: outcome["status"] for outcome in outcomes} == {
        "photo.jpg": "restored", "wall.png": "copied", "broken.jpg": "failed"
    }  # fmt: skip


def test_a_dry_run_shows_who_would_be_matched_and_writes_nothing(restore, album):
    done = restore("--dry-run")
    assert done.code == 0, done.errors
    assert "2 photographs would be: 1 restored, 1 copied; no picture was written" in done.output
    (row,) = (line.split() for line in done.output.splitlines() if "photo.jpg" in line)
    assert row[:5] == ["photo.jpg", "1", "as", "on", "new.jpg"]
    assert {path.name for path in album.iterdir()} == {"photos", "references"}


@pytest.mark.parametrize(("background", "becomes"), [("clean", "cleaned"), ("lanczos", "enlarged")])
def test_a_dry_run_shows_photographs_without_a_face_that_are_cleaned_or_enlarged(restore, background, becomes):
    done = restore("--dry-run", "--background", background)
    assert done.code == 0, done.errors
    assert f"2 photographs would be: 1 restored, 1 {becomes}; no picture was written" in done.output
    (row,) = (line.split() for line in done.output.splitlines() if "wall.png" in line)
    assert row == ["wall.png", *"----", "no", "face", "was", "found"]


@pytest.mark.parametrize(("asked", "said"), [((), True), (("--always",), False), (("--background", "lanczos"), False)])
def test_a_dry_run_says_that_it_judges_faces_before_they_are_cleaned(faceref, album, tiny_model, asked, said):
    with Image.open(album / "photo.jpg") as photo:
        bad = photo.convert("RGB").resize((64, 64)).resize(photo.size)
    (album / "photos").mkdir()
    bad.save(album / "photos" / "old.png")
    done = faceref("restore", album / "photos", "--dry-run", "--background", "clean", "--model", tiny_model, *asked)
    assert "1 photograph would be: 1 restored; " in done.output
    assert ("; faces were judged before cleaning: some may need no more than that; no picture" in done.output) == said


def test_a_dry_run_names_what_is_no_unicode(restore, album):
    (album / "photos" / "photo.jpg").rename(album / "photos" / os.fsdecode(b"gro\xdfmutter.jpg"))
    done = restore("--dry-run")
    assert done.code == 0, done.errors
    assert "gro\\xdfmutter.jpg" in done.output


def test_other_settings_ask_for_again(restore, album):
    assert restore("-o", album / "out").code == 0
    done = restore("-o", album / "out", "--seed", 1)
    assert done.code == 2
    assert done.errors.endswith("(seed 0, not 1); choose another folder, or do all of it again with --again.\n")
    assert restore("-o", album / "out", "--seed", 1, "--again").code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "A folder needs one for its results; name it with --out."),
        (
            ("-o", "out", "--compare"),
            "--compare is for photographs, and contact sheets compare a folder's; ",
        ),
        (("photo.jpg", "-o", "out"), "photos is a folder, which is restored alone; give no other photographs."),
        (("-o", "out", "--face", "9x"), "There is no face '9x'"),
    ],
)
def test_what_cannot_be_is_one_sentence(restore, album, arguments, sentence, monkeypatch):
    monkeypatch.chdir(album / "photos")
    done = restore(*arguments)
    assert done.code == 2
    assert sentence in done.errors
    assert done.errors.count("\n") == 1


@pytest.mark.parametrize("option", ["--dry-run", "--again", "--ray"])
def test_options_of_folders_are_refused_for_photographs(faceref, album, option):
    done = faceref("restore", album / "photo.jpg", option)
    assert done.code == 2
    assert "are for folders" in done.errors
