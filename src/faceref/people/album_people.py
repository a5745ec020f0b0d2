"""Who is in an album: its faces grouped into people, whose photographs are opened when they are needed."""

import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from faceref.errors import PhotoError
from faceref.faces.align import align
from faceref.faces.face import Face, Landmarker
from faceref.faces.recognise import SAME_PERSON_DISTANCE
from faceref.people.album import Album, AlbumPhoto
from faceref.people.founding import group
from faceref.people.measure import most_typical
from faceref.people.person import FACE_SIZE, Identity, Reference, SkippedReference
from faceref.people.references import no_reference
from faceref.people.seen import SeenFace, pixel_digest
from faceref.people.traits import Traits
from faceref.pictures.photo import open_photo
from faceref.pictures.search import photo_digest

# Chosen on LFW's people by benchmarks/album.py choose
SAME_PERSON = 0.48  # dlib's distance, in the mean of all pairs of two groups
# The same, from which on they are two people, though each may be near the most typical photograph: on people of the
# splits train and val (docs/people.md)
TWO_PEOPLE = 0.55
LOWEST_SCORE, SMALLEST_SIDE = 0.2, 40  # faces worse, or with a smaller aligned square (pixels), found nobody


@dataclass(frozen=True, eq=False)
class AlbumReference:
    """A photograph of an album that shows a person, not opened yet; see `faceref.people.person.Source`.

    name: of the file; place: the person's face; digest: of the photograph's pixels; known: its traits, by the
    landmarker that the album was looked at with; content: SHA-256 of the file.
    """

    path: Path
    name: str
    place: Face
    embedding: np.ndarray
    digest: str
    known: Traits
    content: str = ""

    def traits(self, landmarker: Landmarker) -> Traits:
        return self.known

    def reference(self) -> Reference:
        photo = open_photo(self.path)
        digest = pixel_digest(photo)
        # another decoder may round otherwise: then the file is the same all the same
        if digest != self.digest and photo_digest(self.path) != self.content:
            raise PhotoError("has changed since it was looked at", subject=self.name)
        face = align(photo.image, self.place.landmarks, FACE_SIZE).image
        return Reference(self.name, face, self.embedding, digest, photo.warnings)


AlbumPerson = Identity[AlbumReference]


def people_of(album: Album, threshold: float = SAME_PERSON) -> list[AlbumPerson]:
    """The people of an album, those with the most photographs first. Two faces of one photograph are two people.

    Of faces that are good enough to tell who they are (`faceref.people.founding`). References that show nobody else
    come first: by the first one people without names are called.
    """
    faces = [(photo, face) for photo in album.photos for face in photo.seen.faces if _founds(face)]
    if not faces:
        return []
    labels = group(
        np.stack([face.embedding for _, face in faces]),
        np.array([face.score for _, face in faces]),
        np.unique([photo.seen.pixels for photo, _ in faces], return_inverse=True)[1],
        threshold,
    )
    groups: dict[int, list[AlbumReference]] = defaultdict(list)
    for label, (photo, face) in sorted(zip(labels.tolist(), faces, strict=True), key=lambda one: not _only(one[1][0])):
        groups[label].append(_reference(photo, face))
    left_out = tuple(album.skipped)  # whoever would have been on them
    return [AlbumPerson(tuple(group), left_out) for group in sorted(groups.values(), key=len, reverse=True)]


def one_person(album: Album) -> AlbumPerson:
    """Whom all photographs show that have one face: the folder is this person's. Raises NoReferenceError."""
    references: list[AlbumReference] = []
    skipped = list(album.skipped)
    for photo in album.photos:
        try:
            references.append(_reference(photo, photo.seen.face_of_one_person()))
        except PhotoError as error:
            skipped.append(SkippedReference.because(photo.name, error))
    if not references:
        raise no_reference(skipped)
    return AlbumPerson(tuple(references), tuple(skipped), expected=True)


def shows_one_person(album: Album, people: list[AlbumPerson]) -> bool:
    """Whether the photographs with one face are one person's, strangers on single ones apart.

    Two people who look alike may all be near the most typical photograph: groups of two and more must be near, too.
    """
    embeddings = {photo.seen.pixels: face.embedding for photo in album.photos for face in _only(photo)}
    if not embeddings:
        return len(people) == 1
    _, distances = most_typical(np.stack(list(embeddings.values())))
    far = distances > SAME_PERSON_DISTANCE
    strangers = {digest for digest, away in zip(embeddings, far.tolist(), strict=True) if away}
    several = any(sum(one.digest in strangers for one in person.references) > 1 for person in people)
    if several or len(strangers) >= len(embeddings) / 2:
        return False
    groups = [[one.embedding for one in person.references if one.digest in embeddings] for person in people]
    pairs = itertools.combinations((np.stack(group) for group in groups if len(group) > 1), 2)
    return all(cdist(*pair).mean() <= TWO_PEOPLE for pair in pairs)


def _only(photo: AlbumPhoto) -> tuple[SeenFace, ...]:
    """The only face of a photograph, if it has one only."""
    return photo.seen.faces if len(photo.seen.faces) == 1 else ()


def _founds(face: SeenFace) -> bool:
    return face.whole and face.score >= LOWEST_SCORE and face.side >= SMALLEST_SIDE


def _reference(photo: AlbumPhoto, face: SeenFace) -> AlbumReference:
    digest = photo.seen.pixels
    return AlbumReference(photo.path, photo.name, face.place, face.embedding, digest, face.traits, photo.content)
