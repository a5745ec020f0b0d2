"""A tree of photographs becomes a tree of results once, whatever ends the process in between."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceref.errors import OutputError, PhotoError, UsageError
from faceref.pictures.mark import is_marked_restored
from faceref.restore.folder import JOURNAL, Outcome, match_folder, restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request
from faceref.restore.summary import draw_sheets, write_summary


@pytest.fixture
def tree(tmp_path, portrait, mirrored) -> Path:
    """Two portraits, one of them in a format that is not written, a wall, and a file that is no picture."""
    (tmp_path / "good").mkdir()
    mirrored.save(tmp_path / "good" / "new.jpg", quality=95)
    photos = tmp_path / "photos"
    (photos / "1950" / "summer").mkdir(parents=True)
    portrait.save(photos / "portrait.jpg", quality=95)
    portrait.save(photos / "1950" / "portrait.bmp")
    Image.new("RGB", (200, 200), "gray").save(photos / "1950" / "summer" / "wall.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def request_(tree, tiny_model) -> Request:
    options = RestoreOptions(always=True)
    return Request(str(tiny_model), "dlib", references=(tree / "good",), options=options)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.photo: outcome.status for outcome in outcomes}


STATUSES = {
    "portrait.jpg": "restored",
    "1950/portrait.bmp": "restored",
    "1950/summer/wall.png": "copied",
    "broken.jpg": "failed",
}
RESULTS = {"portrait.jpg", "1950/portrait.png", "1950/summer/wall.png", JOURNAL}


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


def test_what_is_done_is_not_done_again_and_what_changed_is(tree, request_, mirrored):
    list(restore_folder(tree / "photos", tree / "out", request_))
    before = {name: (tree / "out" / name).stat().st_mtime_ns for name in RESULTS - {JOURNAL}}
    mirrored.convert("L").save(tree / "photos" / "1950" / "summer" / "wall.png")
    (tree / "out" / "portrait.jpg").unlink()
    again = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(again) == STATUSES | {"1950/summer/wall.png": "restored"}
    assert {outcome.photo for outcome in again if outcome.earlier} == {"1950/portrait.bmp"}
    after = {name: (tree / "out" / name).stat().st_mtime_ns for name in RESULTS - {JOURNAL}}
    assert {name for name in before if before[name] == after[name]} == {"1950/portrait.png"}
    assert is_marked_restored(tree / "out" / "1950/summer/wall.png")  # in the place of the copy


def test_other_settings_are_refused_until_all_is_to_be_done_again(tree, request_, tiny_model):
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


def test_through_ray_they_are_the_same_bytes_too(tree, request_):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'faceref[ray]' to run this test.")
    list(restore_folder(tree / "photos", tree / "one", request_))
    list(restore_folder(tree / "photos", tree / "two", request_, jobs=2, ray=True))
    one, two = files(tree / "one"), files(tree / "two")
    assert all(one[name] == two[name] for name in RESULTS - {JOURNAL})


# restores; kills itself with the second result half written
KILLED = """
import os, pathlib, signal, sys
from faceref.restore.folder import restore_folder
from faceref.restore.options import RestoreOptions
from faceref.restore.request import Request
photos, out, good, model = sys.argv[1:]
written = []
def write_bytes(path, content):
    with path.open("wb") as file:
        written.append(path)
        file.write(content[: len(content) // len(written)])
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.write_bytes = write_bytes
request = Request(model, "dlib", references=(pathlib.Path(good),), options=RestoreOptions(always=True))
list(restore_folder(pathlib.Path(photos), pathlib.Path(out), request))
"""


def test_after_kill_9_it_goes_on_and_the_results_are_those_of_a_run_that_was_not_killed(tree, request_):
    arguments = [tree / "photos", tree / "out", tree / "good", request_.model]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    left = files(tree / "out")
    assert any(Path(name).name.startswith(".") for name in left)  # the half that was written
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES
    assert sum(outcome.earlier for outcome in outcomes) == 1
    list(restore_folder(tree / "photos", tree / "straight", request_))
    out, straight = files(tree / "out"), files(tree / "straight")
    assert out.keys() == straight.keys()
    assert all(out[name] == straight[name] for name in RESULTS - {JOURNAL})


def test_a_full_disk_stops_it_and_with_space_it_goes_on(tree, request_, monkeypatch):
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="disk is full"):
            list(restore_folder(tree / "photos", tree / "out", request_))
    assert files(tree / "out").keys() == {JOURNAL}
    assert statuses(list(restore_folder(tree / "photos", tree / "out", request_))) == STATUSES


def test_a_folder_that_is_unplugged_stops_it_and_it_goes_on_when_it_is_back(tree, request_):
    run = restore_folder(tree / "photos", tree / "out", request_)
    first = next(run)
    shutil.move(tree / "photos", tree / "unplugged")
    with pytest.raises(PhotoError, match="is there no more; connect it"):
        list(run)
    shutil.move(tree / "unplugged", tree / "photos")
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES
    assert [outcome.photo for outcome in outcomes if outcome.earlier] == [first.photo]


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
        ("good/new.jpg", "a part of its path is a file"),
    ],
)
def test_a_folder_that_cannot_take_results_is_refused(tree, request_, out, sentence):
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
    assert portrait.account["faces"][0]["matches"][0]["certainty"] > 0.5


def test_the_summary_has_a_row_for_each_and_the_sheet_faces_before_and_after(tree, request_):
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    lines = write_summary(tree / "out", outcomes).read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [[name, STATUSES[name]] for name in sorted(STATUSES)]
    (sheet,) = draw_sheets(tree / "photos", tree / "out", outcomes)
    with Image.open(sheet) as drawn:
        before, after = (np.asarray(drawn.convert("RGB"))[:160, x : x + 160] for x in (0, 160))
    assert 5 < np.abs(before.astype(int) - after).mean() < 100  # the same face, restored by random weights
    assert is_marked_restored(sheet)
    assert statuses(list(restore_folder(tree / "photos", tree / "out", request_))) == STATUSES


def test_names_that_are_no_unicode_are_restored_too(tree, request_):
    name = os.fsdecode(b"gro\xdfmutter.jpg")
    shutil.move(tree / "photos" / "portrait.jpg", tree / "photos" / name)
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes)[name] == "restored"
    assert (tree / "out" / name).is_file()
    assert "gro\\xdfmutter.jpg" in write_summary(tree / "out", outcomes).read_text()
    again = list(restore_folder(tree / "photos", tree / "out", request_))
    assert [outcome.photo for outcome in again if outcome.earlier and outcome.status == "restored"]
