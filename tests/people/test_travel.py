"""People travel in one file, all of them or none, and it replaces no other file."""

import sqlite3
import stat
from contextlib import closing

import pytest
from invented_person import contents, invented

from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.people.library import Library


@pytest.fixture
def library(tmp_path) -> Library:
    return Library(tmp_path / "people")


def test_people_travel_in_one_file(library, tmp_path):
    library.enroll("Ada", invented(1))
    library.enroll("Grace", invented(2, 3))
    library.export(["Grace"], tmp_path / "grace.people")
    other = Library(tmp_path / "other")
    assert other.import_(tmp_path / "grace.people") == ["Grace"]
    assert contents(other.get("Grace")) == contents(invented(2, 3))
    with pytest.raises(UsageError, match="'Grace' is enrolled already; rename or remove them first"):
        other.import_(tmp_path / "grace.people")
    assert {path.name for path in tmp_path.iterdir()} == {"people", "other", "grace.people"}


def test_people_travel_with_the_day_on_which_they_were_enrolled(library, tmp_path):
    library.enroll("Ada", invented(1))
    with closing(sqlite3.connect(library.path)) as rows, rows:
        rows.execute("UPDATE person SET enrolled = '2024-02-29T12:00:00+00:00'")
    library.export([], tmp_path / "all.people")
    other = Library(tmp_path / "other")
    other.import_(tmp_path / "all.people")
    assert other.everybody() == library.everybody()
    assert other.everybody()[0].enrolled.startswith("2024-02-29")


def test_who_is_named_twice_travels_once_as_they_are_spelled_and_for_the_owner_alone(library, tmp_path):
    library.enroll("Grace", invented(2))
    library.export(["grace", "GRACE"], tmp_path / "grace.people")
    assert Library(tmp_path / "other").import_(tmp_path / "grace.people") == ["Grace"]
    assert stat.S_IMODE((tmp_path / "grace.people").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["people.sqlite", "photo.jpg", "other.sqlite"])
def test_an_export_replaces_an_earlier_one_and_no_other_file(library, tmp_path, name):
    library.enroll("Grace", invented(2))
    (tmp_path / "photo.jpg").write_bytes(b"a photograph")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as rows:
        rows.execute("CREATE TABLE other (a)")
    target = library.path if name == library.path.name else tmp_path / name
    before = target.read_bytes()
    with pytest.raises(OutputError, match=rf"{name} (is there already and is no export|is where people are kept)"):
        library.export([], target)
    assert target.read_bytes() == before
    with pytest.raises(OutputError, match="is a folder; name the file to write"):
        library.export([], tmp_path)
    for _ in range(2):
        library.export([], tmp_path / "grace.people")


def test_a_damaged_file_of_people_is_named_and_not_ones_own(library, tmp_path):
    library.enroll("Grace", invented(2))
    library.export([], tmp_path / "grace.people")
    with sqlite3.connect(tmp_path / "grace.people") as rows:
        rows.execute("UPDATE reference SET embedding = x'00000000'")
    rows.close()
    with pytest.raises(CheckpointError, match=r"grace\.people is damaged at the reference"):
        Library(tmp_path / "other").import_(tmp_path / "grace.people")
