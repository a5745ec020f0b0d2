"""A folder remembers what was done there under which settings, whatever ended the process that did it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faceref.errors import OutputError, UsageError
from faceref.journal import claim, fingerprint, note_writing

SETTINGS = {"photos": "/album", "model": {"steps": 8, "name": "small"}}

# writes a.txt and remembers it, begins with b.txt, and waits to be killed
KILLED = """
import sys, time
from pathlib import Path
from faceref.files import write_atomically
from faceref.journal import claim
out = Path(sys.argv[1])
with claim(out / "done.jsonl", {"seed": 0}) as journal:
    with write_atomically(out / "a.txt") as temporary:
        temporary.write_text("a")
    journal.record("a", {"file": "a.txt"})
    with write_atomically(out / "b.txt") as temporary:
        temporary.write_text("half of")
        print("ready", flush=True)
        time.sleep(60)
"""


def test_what_was_done_is_remembered_and_the_last_outcome_counts(tmp_path: Path):
    with claim(tmp_path / "out" / "done.jsonl", SETTINGS) as journal:
        assert journal.done == {}
        journal.record("a", {"faces": 1})
        journal.record("b", None)
        journal.record("a", {"faces": 2})
    with claim(tmp_path / "out" / "done.jsonl", SETTINGS) as journal:
        assert journal.done == {"a": {"faces": 2}, "b": None}


def test_other_settings_are_refused_by_their_names_and_change_nothing(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        journal.record("a", 1)
    before = (tmp_path / "done.jsonl").read_bytes()
    other = {"photos": "/album", "model": {"steps": 50, "name": "small"}, "seed": 1}
    with pytest.raises(UsageError) as refused, claim(tmp_path / "done.jsonl", other):
        pass
    assert refused.value.subject == str(tmp_path)
    assert refused.value.code == "other_settings"
    assert refused.value.reason == "was made with other settings (model.steps 8, not 50; seed not given, now 1)"
    assert (tmp_path / "done.jsonl").read_bytes() == before


def test_of_a_list_of_settings_the_one_that_differs_is_named(tmp_path: Path):
    conditions = [{"key": "none", "count": 0}, {"key": "references", "count": 5}]
    with claim(tmp_path / "done.jsonl", {"conditions": conditions}) as journal:
        journal.record("a", 1)
    other = {"conditions": [conditions[0], {"key": "references", "count": 3}]}
    with (
        pytest.raises(UsageError, match=r"other settings \(conditions\.2\.count 5, not 3\)"),
        claim(tmp_path / "done.jsonl", other),
    ):
        pass


def test_settings_that_nothing_was_done_with_bind_nobody(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", {"steps": 0}):
        pass
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        journal.record("a", 1)
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        assert journal.done == {"a": 1}


def test_again_takes_other_settings_and_what_was_done_counts_no_more(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", {"seed": 0}) as journal:
        journal.record("a", 1)
    with claim(tmp_path / "done.jsonl", {"seed": 1}, again=True) as journal:
        assert (journal.done, journal.earlier) == ({}, {"a": 1})
        journal.record("b", 2)
    with claim(tmp_path / "done.jsonl", {"seed": 1}) as journal:
        assert (journal.done, journal.earlier) == ({"b": 2}, {"a": 1, "b": 2})
    with pytest.raises(UsageError, match="seed 1, not 0"), claim(tmp_path / "done.jsonl", {"seed": 0}):
        pass


def again_and_ended(path: Path, settings: dict) -> None:
    """A run that is to do all of it again, and ends before anything is done."""
    with claim(path, settings, again=True):
        pass


def test_results_stay_if_a_run_that_is_to_do_them_again_ends_before_anything_is_done(tmp_path: Path):
    path = tmp_path / "done.jsonl"
    with claim(path, {"seed": 0}) as journal:
        journal.record("a", 1)
    again_and_ended(path, {"seed": 1})
    with pytest.raises(UsageError, match="seed 0, not 2"), claim(path, {"seed": 2}):
        pass
    with claim(path, {"seed": 1}) as journal:  # goes on
        assert (journal.done, journal.earlier) == ({}, {"a": 1})
    again_and_ended(path, {"seed": 3})
    with pytest.raises(UsageError, match="seed 0, not 1"), claim(path, {"seed": 1}):
        pass


def test_what_was_done_counts_for_its_own_settings_until_it_is_done_again(tmp_path: Path):
    path = tmp_path / "done.jsonl"
    with claim(path, {"seed": 0}) as journal:
        journal.record("a", 1)
    again_and_ended(path, {"seed": 1})
    with claim(path, {"seed": 0}) as journal:
        assert journal.done == {"a": 1}
        journal.record("b", 2)
    with claim(path, {"seed": 0}) as journal:
        assert journal.done == {"a": 1, "b": 2}
    again_and_ended(path, {"seed": 0})
    with claim(path, {"seed": 0}) as journal:
        assert journal.done == {}
    again_and_ended(path, {"seed": 1})
    note_writing(path, "a.png", "its digest")  # and ends before it remembers that
    with pytest.raises(UsageError, match="seed 1, not 0"), claim(path, {"seed": 0}):
        pass
    with claim(path, {"seed": 1}) as journal:
        assert journal.done == {}


def test_a_setting_that_is_not_given_any_more_is_told_in_words(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", {"strength": 0.5}) as journal:
        journal.record("a", 1)
    with (
        pytest.raises(UsageError, match=r"\(strength 0\.5, now not given\)"),
        claim(tmp_path / "done.jsonl", {"strength": None}),
    ):
        pass


def test_settings_are_the_same_as_json_has_them(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", {"range": [0, 1], "of": {}}) as journal:
        journal.record("a", 1)
    with claim(tmp_path / "done.jsonl", {"of": {}, "range": (0, 1)}) as journal:
        assert journal.done == {"a": 1}


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_line_that_was_cut_off_is_done_again_and_the_next_one_is_whole(tmp_path: Path, cut: int):
    path = tmp_path / "done.jsonl"
    with claim(path, SETTINGS) as journal:
        journal.record("a", 1)
        journal.record("b", "a long outcome of an item")
    path.write_bytes(path.read_bytes()[:-cut])
    with claim(path, SETTINGS) as journal:
        assert journal.done == {"a": 1}
        journal.record("c", 3)
    with claim(path, SETTINGS) as journal:
        assert journal.done == {"a": 1, "c": 3}


def test_a_claim_that_was_cut_off_is_made_again(tmp_path: Path):
    (tmp_path / "done.jsonl").write_text('{"settings": {"see')
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        journal.record("a", 1)
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        assert journal.done == {"a": 1}


def test_a_foreign_file_of_that_name_is_left_alone(tmp_path: Path):
    (tmp_path / "done.jsonl").write_text('{"photos": "/album"}\n')
    with pytest.raises(OutputError, match="is no journal"), claim(tmp_path / "done.jsonl", SETTINGS):
        pass
    assert (tmp_path / "done.jsonl").read_text() == '{"photos": "/album"}\n'


def test_one_folder_belongs_to_one_process_at_a_time(tmp_path: Path):
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        journal.record("a", 1)
        with pytest.raises(OutputError, match="another process"), claim(tmp_path / "done.jsonl", SETTINGS):
            pass
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        assert journal.done == {"a": 1}


def test_after_kill_9_what_is_done_counts_and_nothing_half_done_is_left(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(tmp_path.iterdir())) == 3  # a.txt, the journal, half of b.txt under a hidden name
    (tmp_path / ".hidden.txt").write_text("somebody else's")
    with claim(tmp_path / "done.jsonl", {"seed": 0}) as journal:
        assert journal.done == {"a": {"file": "a.txt"}}
        assert {path.name for path in tmp_path.iterdir()} == {"a.txt", "done.jsonl", ".hidden.txt"}


def test_a_full_disk_is_an_error_and_the_journal_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with claim(tmp_path / "done.jsonl", SETTINGS) as journal:
        journal.record("a", 1)

        class Full:
            def write(self, content: bytes) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(OutputError, match="disk is full"):
            journal.record("b", 2)
        assert journal.done == {"a": 1}


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of its path is a file"), claim(tmp_path / "file" / "j.jsonl", {}):
        pass


def test_a_fingerprint_depends_on_every_value_and_on_no_order_of_keys():
    assert fingerprint("a", {"x": 1, "y": 2}) == fingerprint("a", {"y": 2, "x": 1})
    assert len({fingerprint("a"), fingerprint("b"), fingerprint("a", 1), fingerprint("a", 2)}) == 4
