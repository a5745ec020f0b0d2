"""A tree of photographs becomes a tree of results once, whatever ends the process in between."""

import os
import shutil
from dataclasses import replace
from unittest.mock import Mock, call, patch

import numpy as np
import pytest
from folders import RESULTS, STATUSES, files, statuses
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from faceref.errors import OutputError, PhotoError, UsageError
from faceref.faces.dlib_detector import DlibDetector
from faceref.jobs import run
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.sheets import named
from faceref.restore.folder import JOURNAL, match_folder, restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request
from faceref.restore.summary import draw_sheets, write_summary


def test_the_tree_is_kept_and_one_that_fails_does_not_stop_the_rest(tree, request_):
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES
    made, photos = files(tree / "out"), files(tree / "photos")
    assert made.keys() == RESULTS
    assert made["1950/summer/wall.png"] == photos["1950/summer/wall.png"]
    wall = "1950/summer/wall.png"
    assert (tree / "out" / wall).stat().st_mtime_ns == (tree / "photos" / wall).stat().st_mtime_ns
    for name in ("portrait.jpg", "1950/portrait.png"):
        assert is_marked_restored(tree / "out" / name)
    with Image.open(tree / "out/1950/portrait.png") as after, Image.open(tree / "photos/1950/portrait.bmp") as before:
        assert 0.05 < (np.asarray(after) != np.asarray(before)).any(axis=2).mean() < 0.9
    (broken,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert "broken.jpg is not a" in str(broken.reason)


def test_what_is_done_is_not_done_again_and_what_changed_is(tree, request_, portrait):
    list(restore_folder(tree / "photos", tree / "out", request_))
    before = {name: (tree / "out" / name).stat().st_mtime_ns for name in RESULTS - {JOURNAL}}
    portrait.convert("L").save(tree / "photos" / "1950" / "summer" / "wall.png")
    (tree / "out" / "portrait.jpg").unlink()
    again = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(again) == STATUSES | {"1950/summer/wall.png": "restored"}
    assert {outcome.photo for outcome in again if outcome.earlier} == {"1950/portrait.bmp"}
    after = {name: (tree / "out" / name).stat().st_mtime_ns for name in RESULTS - {JOURNAL}}
    assert {name for name in before if before[name] == after[name]} == {"1950/portrait.png"}
    assert is_marked_restored(tree / "out" / "1950/summer/wall.png")  # in the place of the copy


def test_other_settings_are_refused_until_all_is_to_be_done_again(tree, request_):
    list(restore_folder(tree / "photos", tree / "out", request_))
    first = files(tree / "out")
    other = Request(request_.model, "dlib", request_.references, options=RestoreOptions(always=True, seed=1))
    with pytest.raises(UsageError, match="seed 0, not 1") as refused:
        list(restore_folder(tree / "photos", tree / "out", other))
    assert refused.value.code == "other_settings"
    assert files(tree / "out") == first
    assert not any(one.earlier for one in restore_folder(tree / "photos", tree / "out", other, again=True))
    assert files(tree / "out")["portrait.jpg"] != first["portrait.jpg"]


def test_more_references_are_other_settings(tree, request_, portrait):
    list(restore_folder(tree / "photos", tree / "out", request_))
    portrait.rotate(3).save(tree / "good" / "more.png")
    with pytest.raises(UsageError, match="references"):
        list(restore_folder(tree / "photos", tree / "out", request_))


def test_results_are_the_same_bytes_whatever_the_number_of_processes(tree, request_):
    list(restore_folder(tree / "photos", tree / "one", request_))
    list(restore_folder(tree / "photos", tree / "two", request_, jobs=2))
    one, two = files(tree / "one"), files(tree / "two")
    assert one.keys() == two.keys() == RESULTS
    assert all(one[name] == two[name] for name in RESULTS - {JOURNAL})


def test_an_album_is_looked_at_once_for_all_processes_and_its_files_are_read_once(request_, monkeypatch):
    settings = request_.settings()
    request_.look()
    monkeypatch.setattr(DlibDetector, "detect", lambda *_: pytest.fail("a photograph is looked at again"))
    monkeypatch.setattr("faceref.restore.request.photo_digest", lambda path: pytest.fail(f"{path} is read again"))
    _, (person,) = request_.load()
    assert len(person.references) == 1
    assert request_.settings() == settings


def test_a_folder_may_be_its_own_album_where_no_photograph_is_its_own_reference(request_, portrait, mirrored, tmp_path):
    family = tmp_path / "family"
    family.mkdir()
    portrait.save(family / "1.png")
    mirrored.save(family / "2.png")
    outcomes = list(restore_folder(family, tmp_path / "restored", replace(request_, references=(family,))))
    shown = {outcome.photo: outcome.account["faces"][0]["references"] for outcome in outcomes if outcome.account}
    assert shown == {"1.png": [str(family / "2.png")], "2.png": [str(family / "1.png")]}


@pytest.mark.slow
def test_through_ray_they_are_the_same_bytes_too(tree, request_):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceref[ray]' to run this test.")
    list(restore_folder(tree / "photos", tree / "one", request_))
    list(restore_folder(tree / "photos", tree / "two", request_, jobs=2, ray=True))
    one, two = files(tree / "one"), files(tree / "two")
    assert all(one[name] == two[name] for name in RESULTS - {JOURNAL})


def test_a_result_of_another_name_does_not_stay_beside_the_new_one(tree, request_):
    list(restore_folder(tree / "photos", tree / "out", request_))
    assert (tree / "out" / "1950" / "portrait.png").is_file()
    left_alone = replace(request_, options=RestoreOptions(strength=0.0))
    list(restore_folder(tree / "photos", tree / "out", left_alone, again=True))
    assert {path.name for path in (tree / "out" / "1950").iterdir() if path.is_file()} == {"portrait.bmp"}
    Image.new("RGB", (9, 9)).save(tree / "out" / "1950" / "portrait.bmp")  # somebody else's by now
    list(restore_folder(tree / "photos", tree / "out", request_, again=True))
    names = {path.name for path in (tree / "out" / "1950").iterdir() if path.is_file()}
    assert names == {"portrait.bmp", "portrait.png"}


def test_a_result_that_somebody_has_retouched_is_not_replaced(tree, request_):
    list(restore_folder(tree / "photos", tree / "out", request_))
    result = tree / "out" / "1950" / "portrait.png"
    with Image.open(result) as picture:
        picture.load()
        marks = PngInfo()
        assert isinstance(picture, PngImageFile)
        for name, text in picture.text.items():
            marks.add_text(name, text)
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(result, pnginfo=marks)
    retouched = result.read_bytes()
    assert is_marked_restored(result)
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_, again=True))
    assert statuses(outcomes) == STATUSES | {"1950/portrait.bmp": "failed"}
    told = next(outcome.reason for outcome in outcomes if outcome.photo == "1950/portrait.bmp")
    assert "has been changed since faceref wrote it; move it away" in str(told)
    assert result.read_bytes() == retouched
    second = replace(request_, options=RestoreOptions(face=2))
    list(restore_folder(tree / "photos", tree / "out", second, again=True))  # nothing is to be restored in any
    list(restore_folder(tree / "photos", tree / "out", request_, again=True))
    assert result.read_bytes() == retouched
    result.unlink()
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES


def test_a_result_whose_name_is_another_photographs_by_now_stays(tree, request_, portrait, monkeypatch):
    list(restore_folder(tree / "photos", tree / "out", request_))
    portrait.rotate(5).save(tree / "photos" / "1950" / "portrait.png")  # as the BMP's result was called
    monkeypatch.setattr("faceref.restore.folder.run", lambda work, items, **options: run(work, items[::-1], **options))
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    results = {outcome.photo: outcome.result for outcome in outcomes}
    assert (results["1950/portrait.bmp"], results["1950/portrait.png"]) == ("1950/portrait_2.png", "1950/portrait.png")
    assert {path.name for path in (tree / "out" / "1950").glob("*.png")} == {"portrait.png", "portrait_2.png"}


def test_a_photograph_without_the_face_that_was_chosen_is_copied(tree, request_):
    second = replace(request_, options=RestoreOptions(face=2))
    outcomes = list(restore_folder(tree / "photos", tree / "out", second))
    assert statuses(outcomes) == dict.fromkeys(STATUSES, "copied") | {"broken.jpg": "failed"}
    told = {outcome.photo: outcome.reason for outcome in outcomes}
    assert told["portrait.jpg"] == "has no face 2"
    made, photos = files(tree / "out"), files(tree / "photos")
    assert all(made[name] == photos[name] for name in STATUSES if name != "broken.jpg")


def test_results_among_the_photographs_are_passed_over(tree, request_):
    list(restore_folder(tree / "photos", tree / "out", request_))
    shutil.copy(tree / "out" / "portrait.jpg", tree / "photos" / "portrait_restored.jpg")
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES | {"portrait_restored.jpg": "passed over"}
    assert not (tree / "out" / "portrait_restored.jpg").exists()


def test_a_picture_of_another_origin_is_never_replaced(tree, request_, astronaut):
    (tree / "out").mkdir()
    astronaut.save(tree / "out" / "portrait.jpg")
    before = (tree / "out" / "portrait.jpg").read_bytes()
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    (outcome,) = (outcome for outcome in outcomes if outcome.photo == "portrait.jpg")
    assert outcome.status == "failed"
    assert "is there already and is no result of ours" in str(outcome.reason)
    assert (tree / "out" / "portrait.jpg").read_bytes() == before


def test_a_new_suffix_does_not_take_the_name_of_another_photograph(tree, request_, portrait):
    portrait.rotate(5).save(tree / "photos" / "1950" / "portrait.png")
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    results = {outcome.photo: outcome.result for outcome in outcomes}
    assert results["1950/portrait.png"] == "1950/portrait.png"
    assert results["1950/portrait.bmp"] == "1950/portrait_2.png"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("photos", "is the folder of the photographs"),
        ("photos/out", "lies in"),
        (".", "holds"),
        ("photos/broken.jpg/out", "lies in"),
        ("good/out", "would be taken for references"),
        ("file", "a part of its path is a file"),
    ],
)
def test_a_folder_that_cannot_take_results_is_refused(tree, request_, out, sentence):
    (tree / "file").touch()
    before = files(tree)
    with pytest.raises((UsageError, OutputError), match=sentence):
        list(restore_folder(tree / "photos", tree / out, request_))
    assert files(tree) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere.")
def test_a_folder_of_results_that_is_read_only_is_refused(tree, request_):
    (tree / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="is not writable"):
        list(restore_folder(tree / "photos", tree / "out", request_))


def test_a_tree_without_photographs_is_an_error(tree, request_):
    (tree / "empty" / "more").mkdir(parents=True)
    with pytest.raises(PhotoError, match="has no JPEG"):
        list(restore_folder(tree / "empty", tree / "out", request_))
    assert not (tree / "out").exists()


def test_matching_says_the_same_and_writes_nothing(tree, request_):
    before = files(tree)
    outcomes = list(match_folder(tree / "photos", request_))
    assert statuses(outcomes) == STATUSES
    assert files(tree) == before
    (portrait,) = (outcome for outcome in outcomes if outcome.photo == "portrait.jpg")
    assert portrait.account is not None
    (face,) = portrait.account["faces"]
    assert face["matches"][0]["certainty"] > 0.5
    assert (face["restored"], face["left_alone"], face["strength"]) == (False, None, 1.0)  # as it would be


def test_the_summary_has_a_row_for_each_and_the_sheet_faces_before_and_after(tree, request_):
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    lines = write_summary(tree / "out", outcomes).read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [[name, STATUSES[name]] for name in sorted(STATUSES)]
    assert lines[-1].startswith("portrait.jpg,restored,portrait.jpg,1,1,as on new.jpg,1.00")
    theirs, earlier = (tree / "out" / f"contact_sheet_{name}.png" for name in ("holidays", 2))
    Image.new("RGB", (8, 8)).save(theirs)
    (sheet,) = draw_sheets(tree / "photos", tree / "out", outcomes)
    shutil.copy(sheet, earlier)
    (sheet,) = draw_sheets(tree / "photos", tree / "out", outcomes)
    assert (theirs.exists(), earlier.exists()) == (True, False)
    with Image.open(sheet) as drawn:
        before, after = (np.asarray(drawn.convert("RGB"))[48:208, x : x + 160] for x in (16, 178))
    assert 5 < np.abs(before.astype(int) - after).mean() < 100  # the same face, restored by random weights
    assert is_marked_restored(sheet)
    assert statuses(list(restore_folder(tree / "photos", tree / "out", request_))) == STATUSES


def test_sheets_are_drawn_again_only_where_something_was_done_since(tree, request_):
    for done_again in (False, True):
        list(restore_folder(tree / "photos", tree / "out", request_, again=done_again))
        outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
        on_photo = Mock()
        with patch("faceref.restore.summary.named", wraps=named) as written:
            (sheet,) = draw_sheets(tree / "photos", tree / "out", outcomes, on_photo)
        said = [one.args[1] for one in written.call_args_list]
        assert said[-3:] == ["portrait.jpg", "same person as on new.jpg", "100% sure"]
        assert on_photo.call_args_list == [call(1, 2), call(2, 2)]
        drawn = sheet.stat().st_mtime_ns
        assert draw_sheets(tree / "photos", tree / "out", outcomes) == [sheet]
        assert sheet.stat().st_mtime_ns == drawn


def test_on_the_sheet_a_face_in_a_corner_is_whole_and_as_large_as_others(tree, request_):
    (told,) = (one for one in restore_folder(tree / "photos", tree / "out", request_) if one.photo == "portrait.jpg")
    assert told.account is not None
    outcomes = []
    for name, box in {"corner.png": (0, 0, 60, 90), "middle.png": (100, 100, 160, 190)}.items():
        picture = Image.new("RGB", (300, 300), "white")
        picture.paste("black", box)  # a face is taller than wide
        picture.save(tree / "photos" / name)
        picture.save(tree / "out" / name)
        account = told.account | {"faces": [told.account["faces"][0] | {"box": box}]}
        outcomes.append(replace(told, photo=name, result=name, account=account))
    (sheet,) = draw_sheets(tree / "photos", tree / "out", outcomes)
    with Image.open(sheet) as drawn:
        corner, middle = ((np.asarray(drawn.convert("L"))[48:208, x : x + 160] < 128).sum() for x in (16, 354))
    assert corner == pytest.approx(middle, rel=0.05) == pytest.approx(60 * 90 * (160 / 135) ** 2, rel=0.05)


def test_names_that_are_no_unicode_are_restored_too(tree, request_):
    name = os.fsdecode(b"gro\xdfmutter.jpg")
    shutil.move(tree / "photos" / "portrait.jpg", tree / "photos" / name)
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes)[name] == "restored"
    assert (tree / "out" / name).is_file()
    assert "gro\\xdfmutter.jpg" in write_summary(tree / "out", outcomes).read_text()
    formula = replace(outcomes[0], photo="=1+1.jpg")
    assert "\n'=1+1.jpg," in write_summary(tree / "out", [formula]).read_text()
    again = list(restore_folder(tree / "photos", tree / "out", request_))
    assert [outcome.photo for outcome in again if outcome.earlier and outcome.status == "restored"]
