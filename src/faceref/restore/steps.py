"""The four steps from a photograph to its result, each a function of values: find, assign, restore, compose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.faces.align import AlignedFace, Alignment, align
from faceref.faces.detect import Detector, Face
from faceref.faces.paste import match_color, paste
from faceref.faces.recognise import DlibRecogniser
from faceref.people.person import FACE_SIZE, Person
from faceref.pictures.photo import Photo, check_aligned_face
from faceref.restore.model import Model, OnStep, Settings
from faceref.restore.options import FaceChoice, RestoreOptions

# dlib's distance of a degraded face to references from which on somebody should look. Moderately degraded LFW faces
# stay below it (95 % below 0.61; other people's median is 0.80); severely degraded ones (median 0.65) do not always.
DOUBTFUL_DISTANCE = 0.7
GRAY = 2  # how far the channels of a picture without colours may be apart, levels: JPEG's rounding
NOT_CHOSEN = "another face was chosen"
NOBODY = "it is nobody whose references were given"


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a photograph.

    photo: where it is; number: its place from the left, beginning with 1; place: box and landmarks, None if the whole
    picture is the face; crop: the aligned face, FACE_SIZE px (an aligned picture: its own size); embedding: dlib's,
    float32 [128].
    """

    photo: Photo
    number: int
    place: Face | None
    crop: AlignedFace
    embedding: np.ndarray


@dataclass(frozen=True, eq=False)
class Assignment:
    """What becomes of a face: restored with a person's references, without any (person None), or left alone.

    distance: dlib's to the person, None without one; left_alone: why, None if it is restored.
    """

    face: FoundFace
    person: Person | None = None
    distance: float | None = None
    left_alone: str | None = None


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """A face that was restored, with whose references and how.

    image: the aligned face at the model's resolution, in the photograph's colours.
    """

    assignment: Assignment
    image: Image.Image
    settings: Settings

    @property
    def face(self) -> FoundFace:
        return self.assignment.face

    @property
    def person(self) -> Person | None:
        return self.assignment.person


def find_faces(
    photo: Photo, detector: Detector, recogniser: DlibRecogniser, *, aligned: bool = False
) -> tuple[FoundFace, ...]:
    """The whole faces in the photograph, from left to right.

    aligned: the picture itself is an aligned face. Raises NoFaceError or PhotoError if there are none, UsageError for
    an aligned picture that is not square.

        >>> faces = find_faces(open_photo("group.jpg"), DlibDetector(), DlibRecogniser())
    """
    if aligned:
        return (_whole_picture(photo, recogniser),)
    found = sorted(detector.detect(photo.image), key=lambda face: face.box[0] + face.box[2])
    if not found:
        raise NoFaceError(
            f"No face was found in {photo.name}", hint="cut the photograph closer to the face", code="no_face"
        )
    whole = [face for face in found if photo.is_readable(face.box)]
    if not whole:
        raise PhotoError("is truncated through the face", subject=photo.name, hint="use another copy of it")
    landmarks = [face.landmarks for face in whole]
    embeddings = recogniser.embed_batch([photo.image] * len(whole), landmarks)
    crops = [align(photo.image, points, FACE_SIZE) for points in landmarks]
    numbers = range(1, len(whole) + 1)
    return tuple(FoundFace(photo, *parts) for parts in zip(numbers, whole, crops, embeddings, strict=True))


def assign(faces: Sequence[FoundFace], people: Sequence[Person], options: RestoreOptions) -> tuple[Assignment, ...]:
    """Whose references each face is restored with, if it is: an assignment for each face, in the order of `faces`.

    Nobody given: the chosen faces (by default all) are restored without references. One person: the face most like
    them is, or the one that was chosen. Several people, or the choice "all": each face is looked for among them; what
    is nobody's becomes what `options.unknown` says. Raises UsageError for a choice that is not there.

        >>> assignments = assign(faces, [grandma, grandpa], RestoreOptions(unknown="blind"))
    """
    chosen = _chosen(faces, people, options.face)
    if not people:
        return tuple(Assignment(face, left_alone=None if face in chosen else NOT_CHOSEN) for face in faces)
    by_hand = len(people) == 1 and options.face != "all"
    assignments = []
    for face in faces:
        person = min(people, key=lambda one: one.distance(face.embedding))
        distance = person.distance(face.embedding)
        if face not in chosen:
            assignments.append(Assignment(face, left_alone=NOT_CHOSEN))
        elif by_hand or distance <= DOUBTFUL_DISTANCE:
            assignments.append(Assignment(face, person, distance))
        else:
            assignments.append(Assignment(face, left_alone=None if options.unknown == "blind" else NOBODY))
    return tuple(assignments)


def restore_faces(
    assignments: Sequence[Assignment],
    model: Model,
    blind: Model,
    options: RestoreOptions,
    on_step: OnStep = lambda *_: None,
) -> tuple[RestoredFace, ...]:
    """The aligned faces restored, those left alone not among them; what one model restores goes through it together.

    model: restores faces with references; blind: those without. on_step: (steps done, steps in all) of all faces.
    Raises UsageError for settings that a model does not take.

        >>> restored = restore_faces(assignments, model, model, RestoreOptions(seed=1))
    """
    wanted = [one for one in assignments if one.left_alone is None]
    groups: dict[Model, list[Assignment]] = {}
    for one in wanted:
        groups.setdefault(blind if one.person is None else model, []).append(one)
    settings = {used: used.settings(options) for used in groups}
    total = sum(used.steps(len(group), settings[used]) for used, group in groups.items())
    restored: list[RestoredFace] = []
    done = 0
    for used, group in groups.items():
        images = used.restore(
            [one.face.crop.image for one in group],
            [one.person for one in group],
            settings[used],
            lambda step, before=done: on_step(before + step, total),
        )
        done += used.steps(len(group), settings[used])
        for one, image in zip(group, images, strict=True):
            coloured = _in_colours_of(one.face.crop, image, options.match_color)
            restored.append(RestoredFace(one, coloured, settings[used]))
    return tuple(sorted(restored, key=lambda one: one.face.number))


def compose(photo: Photo, restored: Sequence[RestoredFace], options: RestoreOptions) -> Image.Image:
    """The photograph with its restored faces in their places: RGB, or RGBA if it has alpha.

    What is off the faces keeps its bytes. With `options.aligned` it is the face itself, at the model's resolution.

        >>> compose(photo, restored, RestoreOptions()).show()
    """
    if options.aligned:
        image = restored[0].image.copy()
    else:
        image = photo.image
        for one in restored:
            image = paste(image, one.image, one.face.crop.alignment)
    if photo.alpha is not None:
        image = image.copy()
        image.putalpha(photo.alpha.resize(image.size))
    return image


def _whole_picture(photo: Photo, recogniser: DlibRecogniser) -> FoundFace:
    """The picture itself as an aligned face."""
    check_aligned_face(photo, photo.name)
    side = photo.image.width
    corners = np.array([(0, 0), (0, side), (side, side), (side, 0)]) - 0.5
    alpha = photo.alpha or Image.new("L", (side, side), 255)  # padding, where FFHQ's square left the photograph
    crop = AlignedFace(photo.image, np.asarray(alpha), Alignment(corners, side))
    return FoundFace(photo, 1, None, crop, recogniser.embed_aligned([photo.image])[0])


def _chosen(faces: Sequence[FoundFace], people: Sequence[Person], choice: FaceChoice | None) -> list[FoundFace]:
    """The faces that the options mean, whoever they are."""
    if choice is None and len(people) == 1:
        return [min(faces, key=lambda face: people[0].distance(face.embedding))]
    if choice is None or choice == "all":
        return list(faces)
    if choice == "largest":
        return [max(faces, key=lambda face: face.crop.alignment.side)]
    if choice in range(1, len(faces) + 1):
        return [faces[choice - 1]]
    numbers = "1" if len(faces) == 1 else f"1 to {len(faces)} (from the left)"
    raise UsageError(f"has no face {choice!r}", subject=faces[0].photo.name, hint=f"choose {numbers}, largest or all")


def _in_colours_of(crop: AlignedFace, restored: Image.Image, matched: bool) -> Image.Image:
    """The restored face without a tint from the references; a face without colours stays so."""
    before = crop.image.resize(restored.size, Image.Resampling.LANCZOS)
    mask = np.asarray(Image.fromarray(crop.mask).resize(restored.size, Image.Resampling.BILINEAR))
    if np.ptp(np.asarray(before), axis=2).max() <= GRAY:
        restored = restored.convert("L").convert("RGB")
    return match_color(restored, before, mask) if matched else restored
