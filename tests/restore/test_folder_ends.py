"""Whatever ends a folder's run (Ctrl-C, kill -9, a full disk, an unplugged folder), the next one goes on from there."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from folders import RESULTS, STATUSES, files, statuses

from faceref.errors import OutputError, PhotoError, UsageError
from faceref.journal import Journal
from faceref.restore.folder import JOURNAL, restore_folder
from faceref.restore.request import Request
from faceref.restore.restorer import Restorer


@pytest.fixture
def ctrl_c():
    """SIGINT raises KeyboardInterrupt, as in the command; processes of pytest may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def interrupted(owner: type, name: str, ctrl_c, *, before: bool, monkeypatch) -> None:
    """Ctrl-C comes just before, or just after, a function does its work."""
    original = getattr(owner, name)

    def at_this_point(*arguments, **settings):
        if before:
            ctrl_c()
        result = original(*arguments, **settings)
        ctrl_c()
        return result

    monkeypatch.setattr(owner, name, at_this_point)


def write_a_half(path: Path, content: bytes) -> int:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    signal.raise_signal(signal.SIGINT)
    return len(content)


POINTS = {
    "the model is being loaded": (Request, "load", True),
    "a face is about to be restored": (Restorer, "restore", True),
    "a result is made": (Restorer, "restore", False),
    "a result is written, but not yet remembered": (Journal, "record", True),
    "a result is remembered": (Journal, "record", False),
}


def test_ctrl_c_at_any_point_leaves_nothing_half_written_and_nothing_is_done_twice(
    tree, request_, restorer, ctrl_c, monkeypatch
):
    people = [restorer.person(tree / "good")]
    monkeypatch.setattr(Request, "load", lambda self: (restorer, people))  # which takes longest, and eight times
    list(restore_folder(tree / "photos", tree / "straight", request_))
    expected = files(tree / "straight")
    remembered = 0
    for point, (owner, name, before) in POINTS.items():
        with monkeypatch.context() as patched:
            interrupted(owner, name, ctrl_c, before=before, monkeypatch=patched)
            with pytest.raises(KeyboardInterrupt):
                list(restore_folder(tree / "photos", tree / "out", request_))
        out = files(tree / "out")
        assert out.keys() <= RESULTS, point
        assert all(out[name] == expected[name] for name in out.keys() - {JOURNAL}), point
        assert out[JOURNAL].count(b'"item"') >= remembered, point
        remembered = out[JOURNAL].count(b'"item"')
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_a_half)
        with pytest.raises(KeyboardInterrupt):
            list(restore_folder(tree / "photos", tree / "out", request_))
    assert files(tree / "out").keys() <= RESULTS
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES
    assert sum(outcome.earlier for outcome in outcomes) == remembered > 0
    assert len(outcomes) == len(STATUSES)
    out = files(tree / "out")
    assert out.keys() == expected.keys()
    assert all(out[name] == expected[name] for name in RESULTS - {JOURNAL})


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


@pytest.mark.parametrize("unplugged", ["photos", "good"])
@pytest.mark.parametrize("leaves", ["nothing", "an empty folder"])
def test_a_folder_that_is_unplugged_stops_it_and_it_goes_on_when_it_is_back(tree, request_, unplugged, leaves):
    """Of photographs or of references: what would be made without these counts as done neither."""
    run = restore_folder(tree / "photos", tree / "out", request_)
    first = next(run)
    shutil.move(tree / unplugged, tree / "elsewhere")
    if leaves == "an empty folder":  # what the disk was mounted on
        (tree / unplugged).mkdir()
    with pytest.raises(PhotoError, match=f"{unplugged} is there no more; connect it"):
        list(run)
    shutil.rmtree(tree / unplugged, ignore_errors=True)
    shutil.move(tree / "elsewhere", tree / unplugged)
    outcomes = list(restore_folder(tree / "photos", tree / "out", request_))
    assert statuses(outcomes) == STATUSES
    assert [outcome.photo for outcome in outcomes if outcome.earlier] == [first.photo]


def test_a_reference_that_cannot_be_read_any_more_is_no_reason_to_leave_a_photograph_as_it_is(tree, request_):
    run = restore_folder(tree / "photos", tree / "out", request_)
    next(run)
    (tree / "good" / "new.jpg").rename(tree / "good" / "renamed.jpg")
    outcomes = {outcome.photo: outcome for outcome in run}
    left = [outcome for outcome in outcomes.values() if outcome.photo.startswith(("portrait", "1950/portrait"))]
    assert {outcome.status for outcome in left} == {"failed"}
    assert all("None of the references can be used" in str(outcome.reason) for outcome in left)


def seeded(request: Request, seed: int) -> Request:
    return replace(request, options=request.options.model_copy(update={"seed": seed}))


def test_results_are_not_replaced_unasked_after_a_run_with_again_that_was_ended_at_once(
    tree, request_, ctrl_c, monkeypatch
):
    list(restore_folder(tree / "photos", tree / "out", request_))
    with monkeypatch.context() as patched:
        interrupted(Request, "load", ctrl_c, before=True, monkeypatch=patched)
        with pytest.raises(KeyboardInterrupt):
            list(restore_folder(tree / "photos", tree / "out", seeded(request_, 1), again=True))
    before = files(tree / "out")
    with pytest.raises(UsageError, match="seed 0, not 2") as refused:
        list(restore_folder(tree / "photos", tree / "out", seeded(request_, 2)))
    assert refused.value.code == "other_settings"
    assert files(tree / "out") == before
    kept = list(restore_folder(tree / "photos", tree / "out", request_))
    assert {one.photo for one in kept if one.earlier} == STATUSES.keys() - {"broken.jpg"}


def test_a_result_that_was_written_and_not_remembered_is_known_as_ours(tree, request_, ctrl_c, monkeypatch):
    list(restore_folder(tree / "photos", tree / "out", request_))
    for seed in (1, 2):
        with monkeypatch.context() as patched:
            interrupted(Journal, "record", ctrl_c, before=True, monkeypatch=patched)
            with pytest.raises(KeyboardInterrupt):
                list(restore_folder(tree / "photos", tree / "out", seeded(request_, seed), again=True))
    assert statuses(list(restore_folder(tree / "photos", tree / "out", seeded(request_, 3), again=True))) == STATUSES
