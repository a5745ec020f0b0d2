"""People kept: what was enrolled comes back to the bit, changes are whole or not at all, what is removed is gone."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from invented_person import contents, invented

from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.people.library import FILE, Library, check_name
from faceref.people.person import Person


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "people")


def test_a_person_comes_back_as_they_were_enrolled(library):
    library.enroll("Grandma", invented(1, 2))
    kept = library.get("grandma")
    assert kept.name == "Grandma"
    assert contents(kept) == contents(invented(1, 2))
    assert [(one.name, one.references) for one in library.everybody()] == [("Grandma", 2)]


def test_added_references_count_once(library):
    library.enroll("Ada", invented(1, 2))
    assert library.add("Ada", invented(2, 3)) == 1
    assert contents(library.get("Ada")) == contents(invented(1, 2, 3))


def test_what_came_without_a_name_is_called_by_its_place_among_all(library):
    library.enroll("Ada", Person(tuple(replace(one, name="picture 1") for one in invented(1).references)))
    library.add("Ada", Person(tuple(replace(one, name="picture 1") for one in invented(2).references)))
    library.add("Ada", invented(3))
    assert [one.name for one in library.get("Ada").references] == ["photograph 1", "photograph 2", "photo 3.jpg"]
    (warning,) = library.get("Ada").warnings
    assert "photograph 1" in warning
    assert "photograph 2" in warning


def test_a_file_in_which_a_full_disk_left_no_tables_holds_nobody(library):
    library.folder.mkdir()
    library.path.touch()
    assert library.everybody() == []
    with pytest.raises(UsageError, match="Nobody is enrolled as 'Ada'"):
        library.get("Ada")
    library.enroll("Ada", invented(1))
    assert [one.name for one in library.everybody()] == ["Ada"]


def test_whoever_reads_beside_the_first_enrollment_sees_nobody_or_one(library):
    seen, done = [], threading.Event()

    def read():
        while not done.is_set():
            try:
                seen.append(len(library.everybody()))
            except Exception as error:
                seen.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    library.enroll("Ada", invented(1, 2))
    done.set()
    for reader in readers:
        reader.join()
    assert set(seen) <= {0, 1}


def test_two_names_become_one_person(library):
    library.enroll("Ada", invented(1, 2))
    library.enroll("Ada?", invented(2, 3))
    library.merge("Ada", "Ada?")
    assert contents(library.get("Ada")) == contents(invented(1, 2, 3))
    assert [one.name for one in library.everybody()] == ["Ada"]
    with pytest.raises(UsageError, match="'Ada' cannot be merged with itself; name two people"):
        library.merge("Ada", "ada")


def test_a_new_name_may_be_the_old_one_spelled_otherwise_but_nobody_elses(library):
    library.enroll("ada", invented(1))
    library.enroll("Grace", invented(2))
    library.rename("ada", "Ada")
    assert [one.name for one in library.everybody()] == ["Ada", "Grace"]
    with pytest.raises(UsageError, match="'grace' is enrolled already; merge the two, or choose another name"):
        library.rename("Ada", "grace")


@pytest.mark.parametrize(
    ("name", "called"),
    [("Ada  Byron", " ada byron"), ("Émile", "E\u0301MILE"), ("Straße", "STRASSE"), ("STRASSE", "straße")],
)
def test_a_name_is_the_same_in_large_letters_and_small_ones(library, name, called):
    library.enroll("Grace", invented(1))
    library.enroll(name, invented(2))
    assert library.get(called).name == check_name(name)
    with pytest.raises(UsageError, match="is enrolled already"):
        library.enroll(called, invented(3))


def test_a_name_is_looked_up_and_not_compared_with_all_others(library, monkeypatch):
    for name in ("Ada", "Grace", "Barbara"):
        library.enroll(name, invented(1))
    monkeypatch.setattr("faceref.people.library.same_name", lambda *names: pytest.fail(f"{names} are compared"))
    assert library.get("ada").name == "Ada"
    library.enroll("Katherine", invented(2))


@pytest.mark.parametrize("name", ["", "  ", ".", "...", "a/b", "a\\b", "a\x00b", "x" * 101])
def test_what_cannot_be_a_name_is_refused(library, name):
    with pytest.raises(UsageError, match="cannot be a person's name"):
        library.enroll(name, invented(1))
    assert not library.path.exists()


def test_blanks_around_and_within_a_name_do_not_count():
    assert check_name("  Ada   Lovelace ") == "Ada Lovelace"


def test_a_name_twice_or_unknown_is_one_sentence(library):
    with pytest.raises(UsageError, match="Nobody is enrolled as 'Ada'; enroll people first; nobody is yet"):
        library.get("Ada")
    library.enroll("Ada", invented(1))
    with pytest.raises(UsageError, match="'ADA' is enrolled already; add the photographs to them"):
        library.enroll("ADA", invented(2))
    with pytest.raises(UsageError, match="Nobody is enrolled as 'Bob'; choose one of Ada"):
        library.remove("Bob")
    with pytest.raises(UsageError, match="Nobody is enrolled as"):
        library.get("Ad\udce4")  # a byte that is no text


def test_only_the_owner_may_read(library):
    library.enroll("Ada", invented(1))
    assert stat.S_IMODE(library.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in library.folder.iterdir()} == {0o600}


def test_what_is_removed_is_gone_from_the_disk(library):
    library.enroll("Grace", invented(1))
    library.enroll("Zebedee", invented(7))
    traces = [b"Zebedee", b"digest of 7", invented(7).references[0].embedding.tobytes()]
    assert all(trace in everything(library.folder) for trace in traces), "or the test could not fail"
    library.remove("zebedee")
    assert not any(trace in everything(library.folder) for trace in traces)
    assert contents(library.get("Grace")) == contents(invented(1))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_letters_of_any_alphabet_may_be_large_or_small(library):
    library.enroll("Jürgen", invented(1))
    assert library.get("JÜRGEN").name == "Jürgen"
    with pytest.raises(UsageError, match="'JÜRGEN' is enrolled already"):
        library.enroll("JÜRGEN", invented(2))


def test_a_file_of_another_version_or_none_of_ours_is_refused(library, tmp_path):
    library.enroll("Ada", invented(1))
    with sqlite3.connect(library.path) as rows:
        rows.execute("PRAGMA user_version = 7")
    rows.close()
    with pytest.raises(CheckpointError, match="holds people in the form 7, and this version of faceref reads 1"):
        library.get("Ada")
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one " * 20)
    with pytest.raises(CheckpointError, match="is damaged"):
        Library(tmp_path / "new").import_(tmp_path / "text")


def test_a_damaged_face_is_refused(library):
    library.enroll("Ada", invented(1))
    with sqlite3.connect(library.path) as rows:
        rows.execute("UPDATE reference SET embedding = x'00'")
    rows.close()
    with pytest.raises(CheckpointError, match=r"is damaged"):
        library.get("Ada")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a part of its path is a file"):
        Library(tmp_path / "file").enroll("Ada", invented(1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_folder_that_is_read_only_is_one_sentence():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        said = said_to_nobody(lambda: Library(Path(folder) / "people").enroll("Ada", invented(1)))
    path = Path(folder) / "people" / FILE
    assert said == f"{path} cannot be written because {path.parent} is not writable; choose another folder."


def said_to_nobody(do: Callable[[], None]) -> str:
    """What an error says to a user who may not write what root may."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            do()
        except OutputError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as told:
        return told.read().decode()


def test_a_locked_database_is_one_sentence(library, monkeypatch):
    library.enroll("Ada", invented(1))
    monkeypatch.setattr("faceref.people.database.PATIENCE", 0.05)
    with sqlite3.connect(library.path) as rows:
        rows.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="is in use by another program"):
            library.enroll("Grace", invented(2))
    rows.close()


def test_threads_enrolling_at_once_lose_nobody(library):
    def enroll(who: int) -> None:
        library.enroll(f"person {who}", invented(who))

    threads = [threading.Thread(target=enroll, args=[who]) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [contents(library.get(f"person {who}")) for who in range(8)] == [contents(invented(w)) for w in range(8)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which Windows does not have")
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(library):
    command = [sys.executable, Path(__file__).with_name("killing.py"), library.folder]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert min(map(int, told.split())) > 0, f"the moments were not spread: {told}"
    assert {path.name for path in library.folder.iterdir()} <= {FILE, f"{FILE}-wal", f"{FILE}-shm"}
