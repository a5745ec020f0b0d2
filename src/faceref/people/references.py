"""Reading one person's reference photographs: which can be used, and why the others cannot."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from faceref.errors import FacerefError, NoReferenceError, PhotoError, printable
from faceref.faces.align import AlignedFace, align
from faceref.faces.detect import Detector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.quality import JUDGED_AT, RESTORED, quality
from faceref.jobs import OnItem
from faceref.people.person import FACE_SIZE, Person, Reference, SkippedReference
from faceref.people.seen import look, pixel_digest
from faceref.pictures.photo import Photo, PhotoSource, check_aligned_face, open_photo
from faceref.pictures.search import find_photos

NAMED = 5  # of photographs that cannot be used, in one sentence


def read_person(
    sources: Iterable[PhotoSource],
    detector: Detector,
    recogniser: TorchDlibRecogniser,
    *,
    aligned: bool = False,
    largest_face: bool = False,
    on_photo: OnItem = lambda *_: None,
) -> Person:
    """The person that files, folders and pictures show.

    aligned: the pictures are aligned faces already. largest_face: of several faces the largest is taken; else such a
    photograph is left out. Of pictures with the same pixels the first counts. on_photo: called with (photographs looked
    at, photographs in all).

    Raises PhotoError for a missing file or a folder without pictures, NoReferenceError if not one can be used.
    """
    used: list[Reference] = []
    skipped: list[SkippedReference] = []
    taken: dict[str, str] = {}  # digest -> name
    named = _named(sources)
    for done, (name, source) in enumerate(named, start=1):
        try:
            photo = open_photo(source)
            digest = pixel_digest(photo)
            if photo.restored:
                raise PhotoError("it is AI-restored itself")
            first = taken.setdefault(digest, name)
            if first != name:
                raise PhotoError(f"it is the same picture as {first}")
            used.append(_read(name, photo, digest, detector, recogniser, aligned, largest_face))
        except FacerefError as error:
            skipped.append(SkippedReference.because(name, error))
        on_photo(done, len(named))
    if not used:
        raise no_reference(skipped)
    return Person(tuple(used), tuple(skipped))


def no_reference(skipped: Sequence[SkippedReference]) -> NoReferenceError:
    """The error that none of these can be used; of many the first are named."""
    reasons = [f"{one.name}: {one.reason}" for one in skipped[:NAMED]]
    if len(skipped) > NAMED:
        reasons.append(f"and {len(skipped) - NAMED} more")
    return NoReferenceError(
        f"None of the references can be used ({'; '.join(reasons)})",
        hint="give other photographs of the person",
    )


def poor_references(references: Sequence[Reference]) -> tuple[str, ...]:
    """A sentence about those that are as bad as what they are to help with: each would itself be restored fully.

    That are none of 102 photographs of LFW, and 100 of these blurred by three pixels (a deviation; faces of 170 px).
    """
    poor = [one for one in references if quality(AlignedFace.whole(one.face), JUDGED_AT).score < RESTORED]
    if not poor:
        return ()
    names = [one.name for one in poor[:NAMED]] + ([f"{len(poor) - NAMED} more"] if len(poor) > NAMED else [])
    *others, last = names
    which = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return (f"{which} so blurred, noisy or small that the face shows little; sharper photographs serve better.",)


def _named(sources: Iterable[PhotoSource]) -> list[tuple[str, PhotoSource]]:
    paths: list[str | Path] = []
    pictures: list[tuple[str, PhotoSource]] = []
    for source in sources:
        if isinstance(source, bytes | Image.Image):
            pictures.append((f"picture {len(pictures) + 1}", source))
        else:
            paths.append(source)
    return [(printable(path), path) for path in find_photos(paths)] + pictures


def _read(
    name: str,
    photo: Photo,
    digest: str,
    detector: Detector,
    recogniser: TorchDlibRecogniser,
    aligned: bool,
    largest_face: bool,
) -> Reference:
    image = photo.image
    if aligned:
        check_aligned_face(photo, name)
        face = image.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.LANCZOS)
        return Reference(name, face, recogniser.embed_aligned([image])[0], digest, photo.warnings)
    shown = look(photo, detector, recogniser).face_of_one_person(largest=largest_face)
    face = align(image, shown.place.landmarks, FACE_SIZE).image
    return Reference(name, face, shown.embedding, digest, photo.warnings)
