"""Reading one person's reference photographs: which can be used, and why the others cannot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from faceref.errors import FacerefError, NoFaceError, PhotoError, printable
from faceref.faces.align import align
from faceref.faces.detect import Detector
from faceref.faces.recognise import DlibRecogniser
from faceref.people.person import FACE_SIZE, Person, Reference, SkippedReference
from faceref.people.seen import Seen, look, pixel_digest
from faceref.pictures.photo import Photo, PhotoSource, check_aligned_face, open_photo, sides
from faceref.pictures.search import find_photos

NAMED = 5  # of photographs that cannot be used, in one sentence


def read_person(
    sources: Iterable[PhotoSource],
    detector: Detector,
    recogniser: DlibRecogniser,
    *,
    aligned: bool = False,
    largest_face: bool = False,
    exclude: Sequence[PhotoSource] = (),
    seen: Mapping[str, Seen] | None = None,
) -> Person:
    """The person that files, folders and pictures show.

    aligned: the pictures are aligned faces already. largest_face: of several faces the largest is taken; else such a
    photograph is left out. exclude: the photographs to be restored, which cannot be their own references, nor can
    copies of them. Of pictures with the same pixels the first counts. seen: by digest of the pixels what was seen in
    photographs already, with the same detector.

    Raises PhotoError for a missing file or a folder without pictures, NoFaceError if not one reference can be used.
    """
    used: list[Reference] = []
    skipped: list[SkippedReference] = []
    named = _named(sources)
    restored = {pixel_digest(photo) for photo in _readable(_of_these_sizes(exclude, [source for _, source in named]))}
    taken: dict[str, str] = {}  # digest -> name
    for name, source in named:
        try:
            photo = open_photo(source)
            digest = pixel_digest(photo)
            if digest in restored:
                raise PhotoError("it is the photograph to be restored")
            if photo.restored:
                raise PhotoError("it is AI-restored itself")
            first = taken.setdefault(digest, name)
            if first != name:
                raise PhotoError(f"it is the same picture as {first}")
            used.append(
                _read(name, photo, digest, detector, recogniser, aligned, largest_face, (seen or {}).get(digest))
            )
        except FacerefError as error:
            skipped.append(SkippedReference.because(name, error))
    if not used:
        raise no_reference(skipped)
    return Person(tuple(used), tuple(skipped))


def no_reference(skipped: Sequence[SkippedReference]) -> NoFaceError:
    """The error that none of these can be used; of many the first are named."""
    reasons = [f"{one.name}: {one.reason}" for one in skipped[:NAMED]]
    if len(skipped) > NAMED:
        reasons.append(f"and {len(skipped) - NAMED} more")
    return NoFaceError(
        f"None of the references can be used ({'; '.join(reasons)})",
        hint="give other photographs of the person",
        code="no_reference",
    )


def _named(sources: Iterable[PhotoSource]) -> list[tuple[str, PhotoSource]]:
    paths: list[str | Path] = []
    pictures: list[tuple[str, PhotoSource]] = []
    for source in sources:
        if isinstance(source, bytes | Image.Image):
            pictures.append((f"picture {len(pictures) + 1}", source))
        else:
            paths.append(source)
    return [(printable(path), path) for path in find_photos(paths)] + pictures


def _of_these_sizes(photos: Sequence[PhotoSource], references: Sequence[PhotoSource]) -> list[PhotoSource]:
    """The photographs that may have the same pixels as a reference: there may be many, and decoding takes long."""
    wanted = set(map(sides, references))
    return [photo for photo in photos if None in wanted or (size := sides(photo)) is None or size in wanted]


def _readable(sources: Sequence[PhotoSource]) -> Iterator[Photo]:
    """What is wrong with the others is said when they are restored."""
    for source in sources:
        with suppress(FacerefError):
            yield open_photo(source)


def _read(
    name: str,
    photo: Photo,
    digest: str,
    detector: Detector,
    recogniser: DlibRecogniser,
    aligned: bool,
    largest_face: bool,
    seen: Seen | None,
) -> Reference:
    image = photo.image
    if aligned:
        check_aligned_face(photo, name)
        face = image.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.LANCZOS)
        return Reference(name, face, recogniser.embed_aligned([image])[0], digest, photo.warnings)
    faces = list((seen or look(photo, detector, recogniser)).faces)
    if not faces:
        raise NoFaceError("no face was found in it")
    if len(faces) > 1 and not largest_face:
        raise NoFaceError(f"{len(faces)} faces are in it")
    largest = faces[0]
    if not largest.whole:
        raise PhotoError("the file is truncated through the face")
    face = align(image, largest.place.landmarks, FACE_SIZE).image
    return Reference(name, face, largest.embedding, digest, photo.warnings)
