"""The reference photographs of one person: which can be used, why the others cannot, what the model keeps of them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.errors import FacerefError, NoFaceError, PhotoError
from faceref.faces.align import align
from faceref.faces.detect import Detector
from faceref.faces.recognise import SAME_PERSON_DISTANCE, DlibRecogniser, distance
from faceref.models.reference import ReferenceCache
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.photo import Photo, check_aligned_face, open_photo, sides
from faceref.pictures.search import find_photos

PhotoSource = str | Path | Image.Image


@dataclass(frozen=True, eq=False)
class Reference:
    """One usable reference: where it came from, its aligned face, dlib's embedding float32 [128], what was not read."""

    name: str
    face: Image.Image
    embedding: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedReference:
    """A photograph that could not be used; `reason` continues the sentence "NAME was left out: "."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class EncodedReferences:
    """A person's references, read and encoded once for any number of photographs."""

    used: tuple[Reference, ...]
    skipped: tuple[SkippedReference, ...]
    cache: ReferenceCache

    @property
    def embeddings(self) -> np.ndarray:
        """float32 [N, 128]"""
        return np.stack([reference.embedding for reference in self.used])

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each reference that is not whole, or seems to show somebody else than the most typical one."""
        damaged = tuple(warning for reference in self.used for warning in reference.warnings)
        distances = distance(self.embeddings[:, None], self.embeddings[None])  # [N, N]
        typical = int(np.median(distances, axis=1).argmin())
        return damaged + tuple(
            f"{reference.name} seems to show somebody else than {self.used[typical].name} "
            f"(distance {far:.2f}, the same person is below {SAME_PERSON_DISTANCE})."
            for reference, far in zip(self.used, distances[typical], strict=True)
            if far > SAME_PERSON_DISTANCE
        )


def read_references(
    sources: Iterable[PhotoSource],
    detector: Detector,
    recogniser: DlibRecogniser,
    size: int,
    *,
    aligned: bool = False,
    largest_face: bool = False,
    exclude: Sequence[PhotoSource] = (),
) -> tuple[tuple[Reference, ...], tuple[SkippedReference, ...]]:
    """The usable references among files, folders and pictures, as aligned faces of `size` pixels, and the others.

    aligned: the pictures are aligned faces already. largest_face: of several faces the largest is taken; else such a
    photograph is left out. exclude: the photographs to be restored, which cannot be their own references, nor can
    copies of them. Of pictures with the same pixels the first counts.

    Raises PhotoError for a missing file or a folder without pictures, NoFaceError if not one reference can be used.
    """
    used: list[Reference] = []
    skipped: list[SkippedReference] = []
    named = _named(sources)
    restored = {_digest(photo.image) for photo in _readable(_of_these_sizes(exclude, [source for _, source in named]))}
    taken: dict[bytes, str] = {}  # pixels -> name
    for name, source in named:
        try:
            photo = open_photo(source)
            pixels = _digest(photo.image)
            if pixels in restored:
                raise PhotoError("it is the photograph to be restored")
            if photo.path and is_marked_restored(photo.path):
                raise PhotoError("it is AI-restored itself")
            first = taken.setdefault(pixels, name)
            if first != name:
                raise PhotoError(f"it is the same picture as {first}")
            used.append(_read(name, photo, detector, recogniser, size, aligned, largest_face))
        except FacerefError as error:
            skipped.append(SkippedReference(name, _reason(error, name)))
    if not used:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in skipped)
        raise NoFaceError(f"None of the references can be used ({reasons}); give other photographs of the person.")
    return tuple(used), tuple(skipped)


def _named(sources: Iterable[PhotoSource]) -> list[tuple[str, PhotoSource]]:
    paths: list[str | Path] = []
    pictures: list[tuple[str, PhotoSource]] = []
    for source in sources:
        if isinstance(source, Image.Image):
            pictures.append((f"picture {len(pictures) + 1}", source))
        else:
            paths.append(source)
    return [(str(path), path) for path in find_photos(paths)] + pictures


def _reason(error: FacerefError, name: str) -> str:
    """What the sentence of an error says of the picture `name`, whose name stands before it anyway."""
    reason = str(error).rstrip(".")
    for start in (f"{name} ", "The picture "):
        if reason.startswith(start):
            return f"it {reason.removeprefix(start)}"
    return reason


def _of_these_sizes(photos: Sequence[PhotoSource], references: Sequence[PhotoSource]) -> list[PhotoSource]:
    """The photographs that may have the same pixels as a reference: there may be many, and decoding takes long."""
    wanted = set(map(sides, references))
    return [photo for photo in photos if None in wanted or (size := sides(photo)) is None or size in wanted]


def _readable(sources: Sequence[PhotoSource]) -> Iterator[Photo]:
    """What is wrong with the others is said when they are restored."""
    for source in sources:
        with suppress(FacerefError):
            yield open_photo(source)


def _digest(image: Image.Image) -> bytes:
    return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).digest()


def _read(
    name: str,
    photo: Photo,
    detector: Detector,
    recogniser: DlibRecogniser,
    size: int,
    aligned: bool,
    largest_face: bool,
) -> Reference:
    image = photo.image
    if aligned:
        check_aligned_face(photo, "it")
        face = image.resize((size, size), Image.Resampling.LANCZOS)
        return Reference(name, face, recogniser.embed_aligned([image])[0], photo.warnings)
    faces = detector.detect(image)
    if not faces:
        raise NoFaceError("no face was found in it")
    if len(faces) > 1 and not largest_face:
        raise NoFaceError(f"{len(faces)} faces are in it")
    if not photo.is_readable(faces[0].box):
        raise PhotoError("the file is truncated through the face")
    landmarks = faces[0].landmarks  # the largest
    return Reference(name, align(image, landmarks, size).image, recogniser.embed(image, landmarks), photo.warnings)
