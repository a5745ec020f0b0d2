"""Whoever reads a person sees one state of the library, whatever another process does meanwhile."""

import pytest
from invented_person import contents, invented

from faceref.people import library as of_people
from faceref.people.library import Library


@pytest.mark.parametrize(
    "read", [lambda library: contents(library.get("Augusta")), lambda library: library.stamp("Augusta")]
)
def test_a_person_who_goes_while_they_are_read_is_read_as_they_were(read, tmp_path, monkeypatch):
    library = Library(tmp_path)
    library.enroll("Ada", invented(1))
    library.enroll("Augusta", invented(2))
    before, find = read(library), of_people._id

    def found_and_gone(rows, name):
        person = find(rows, name)
        monkeypatch.setattr(of_people, "_id", find)
        Library(tmp_path).merge("Ada", "Augusta")
        return person

    monkeypatch.setattr(of_people, "_id", found_and_gone)
    after = read(library)
    assert after == before
    assert [one.name for one in library.everybody()] == ["Ada"]
