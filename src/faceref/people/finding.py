"""Who of the people that are known is on which photographs of an album."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faceref.faces.boxes import Box
from faceref.people.album import Album
from faceref.people.matching import is_sure, match
from faceref.people.person import Identity


@dataclass(frozen=True)
class Sighting:
    """A person on a photograph: its name, where the face is (left, top, right, bottom), how surely it is the person."""

    person: str
    photo: str
    box: Box
    certainty: float


def find_people(album: Album, people: Sequence[Identity[Any]]) -> list[Sighting]:
    """Where people with names surely are, by name and then as the album is ordered; a person's own references too."""
    found = [
        Sighting(str(best.person.name), name, face.place.box, best.certainty)
        for photo in album.photos
        for face in photo.seen.faces
        if face.whole and is_sure(matches := match(face.probe, face.score, people))
        for best in matches[:1]
        for name in (photo.name, *photo.copies)
    ]
    return sorted(found, key=lambda one: one.person)
