"""Enrolled people in the server's memory: those that are on the disk, and not for longer."""

import pytest

from faceref.app.server import kept_people
from faceref.app.server.kept_people import KeptPeople
from faceref.errors import UsageError
from faceref.people.library import Library
from faceref.people.person import Person


def test_people_in_memory_are_those_on_the_disk_and_not_many(tmp_path, restorer, reference, monkeypatch):
    monkeypatch.setattr(kept_people, "KEPT", 2)
    library, people = Library(tmp_path), KeptPeople(lambda owner: Library(tmp_path))
    for name in ("Eileen", "Marie", "Collins"):
        library.enroll(name, restorer.person([reference]))
    first = people.get("me", "Eileen")
    assert people.get("me", "Eileen") is first
    library.rename("Eileen", "eileen")
    assert people.get("me", "Eileen").name == "eileen"
    again = people.get("me", "Eileen")
    for name in ("Marie", "Collins"):
        people.get("me", name)
    assert people.get("me", "Eileen") is not again
    library.remove("Collins")
    with pytest.raises(UsageError, match="Nobody is enrolled"):
        people.get("me", "Collins")


def test_who_is_removed_while_they_are_read_does_not_stay_in_memory(tmp_path, restorer, reference, monkeypatch):
    library, people = Library(tmp_path), KeptPeople(lambda owner: Library(tmp_path))
    library.enroll("Eileen", restorer.person([reference]))
    read = Library.get

    def read_and_removed(self: Library, name: str) -> Person:
        person = read(self, name)
        library.remove(name)
        people.forget("me")
        return person

    monkeypatch.setattr(Library, "get", read_and_removed)
    assert people.get("me", "Eileen").name == "Eileen"
    assert not people._kept
