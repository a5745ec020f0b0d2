"""The steps from a photograph to its result, each a function of values: find, assign, show, restore, compose."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from faceref.errors import NoFaceError, PhotoError, UsageError
from faceref.faces.align import AlignedFace
from faceref.faces.colour import match_color
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.face import Detector, Face, Landmarker
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.faces.quality import JUDGED_AT, FaceQuality, quality, size_in_photo, strength
from faceref.faces.surroundings import Outline
from faceref.faces.tone import Tone
from faceref.people.choice import choose_references
from faceref.people.matching import Match, is_sure, match
from faceref.people.person import Identity, same_name
from faceref.pictures.levels import FULL, Levels, in_full_levels
from faceref.pictures.photo import Photo, check_aligned_face
from faceref.restore.bystanders import bystander
from faceref.restore.chosen import by_number, check_numbers, chosen
from faceref.restore.faces import Assignment, FoundFace, RestoredFace, crop_of
from faceref.restore.layers import Layer, compose_layers
from faceref.restore.left_alone import LeftAlone
from faceref.restore.model import Model, OnStep
from faceref.restore.options import ByHand, RestoreOptions
from faceref.threads import in_threads


def find_faces(
    photo: Photo,
    detector: Detector,
    recogniser: TorchDlibRecogniser,
    *,
    aligned: bool = False,
    enlargement: int = 1,
) -> tuple[FoundFace, ...]:
    """The whole faces in the photograph, from left to right.

    aligned: the picture itself is an aligned face; enlargement: how many times larger it is going to be. Raises
    NoFaceError or PhotoError if there are none, UsageError for an aligned picture that is not square.

        >>> faces = find_faces(open_photo("group.jpg"), DlibDetector(), TorchDlibRecogniser())
    """
    if aligned:
        return (_whole_picture(photo, recogniser),)
    image = in_full_levels(photo.image)
    found = sorted(detector.detect(image), key=lambda face: face.box[0] + face.box[2])
    if not found:
        raise NoFaceError(f"No face was found in {photo.name}", hint="cut the photograph closer to the face")
    whole = [face for face in found if photo.is_readable(face.box)]
    if not whole:
        raise PhotoError("is truncated through the face", subject=photo.name, hint="use another copy of it")
    landmarks = [face.landmarks for face in whole]
    known_by = zip(*recogniser.embed_with_probes([image] * len(whole), landmarks), strict=True)
    crops = list(in_threads(lambda points: crop_of(photo, points), landmarks))
    levels = [Levels.of(crop.image, crop.mask) for crop in crops]
    judged = in_threads(lambda pair: judge(*pair, enlargement), list(zip(crops, levels, strict=True)))
    numbers = range(1, len(whole) + 1)
    return tuple(
        FoundFace(photo, number, place, crop, *known, *how_good, levels=own, head=_is_alone(place, crop, found))
        for number, place, crop, own, known, how_good in zip(
            numbers, whole, crops, levels, known_by, judged, strict=True
        )
    )


def assign(
    faces: Sequence[FoundFace], people: Sequence[Identity[Any]], options: RestoreOptions
) -> tuple[Assignment, ...]:
    """Whose references each face is restored with, if it is: an assignment for each face, in the order of `faces`.

    Nobody given: the chosen faces are restored without references, by default all. One person: the face most like
    them is, if it may be them, or the one that was chosen. Several people, those of an album, or the choice "all": each
    face is looked for among them; what is nobody's, or not surely whose, becomes what `options.unknown` says. Faces
    that are good already are left alone, and bystanders' that nobody chose and no references are for.

    Raises UsageError for a choice that is not there, OtherPersonError if no face may be the one person.

        >>> assignments = assign(faces, [grandma, grandpa], RestoreOptions(unknown="blind", always=True))
    """
    only = people[0] if len(people) == 1 and people[0].expected else None
    by_hand = by_number(faces, options.by_hand)
    check_numbers(faces, options.strength if isinstance(options.strength, dict) else ())
    meant = chosen(faces, only, options.face, by_hand)
    believed = only is not None and options.face != "all"

    def assigned(face: FoundFace) -> Assignment:
        matches = match(face.probe, face.coarse.score, people)
        if face.number not in by_hand and face not in meant:
            return Assignment(face, None, matches, left_alone=LeftAlone.NOT_CHOSEN)
        if (said := by_hand.get(face.number)) is not None:
            return _said(face, matches, said, people)
        return _assigned(face, matches, believed, options.unknown)

    def needed(face: FoundFace) -> Assignment:
        one = _as_needed(assigned(face), options)
        named = face.number in by_hand or (isinstance(options.strength, dict) and face.number in options.strength)
        asked_for = options.always or options.face is not None or named or one.person is not None
        one = replace(one, face=replace(face, head=face.head and not options.face_only))
        return one if one.left_alone or asked_for else replace(one, left_alone=bystander(face, faces))

    return tuple(needed(face) for face in faces)


def as_needed_when_cleaned(
    assignments: Sequence[Assignment], cleaned: Photo, options: RestoreOptions
) -> tuple[Assignment, ...]:
    """The same, but that faces are restored no more than they still need in the cleaned photograph.

    Noise alone is gone there. Faces of which somebody has said how much stay as they are.

        >>> assignments = as_needed_when_cleaned(assignments, clean(photo, load_cleaner("cpu")), options)
    """

    def judged(one: Assignment) -> Assignment:
        if one.left_alone or options.always or options.strength_of(one.face.number) is not None:
            return one
        needed, _ = judge(one.face.crop_in(cleaned), one.face.levels, options.enlargement)
        shown = min(one.strength, strength(needed, cleaned=True))
        return replace(one, strength=shown, left_alone=None if shown else LeftAlone.CLEANED)

    return tuple(in_threads(judged, assignments))


def show_references(
    assignments: Sequence[Assignment], options: RestoreOptions, landmarker: Landmarker
) -> tuple[Assignment, ...]:
    """The same, with the references that serve each face best, read; faces that are left alone need none.

    Raises NoReferenceError if none of a person's photographs can be read any more.

        >>> assignments = show_references(assignments, RestoreOptions(max_refs=3), DlibDetector())
    """
    return tuple(
        one
        if one.person is None or one.left_alone
        else replace(one, shown=choose_references(one.person, one.face.seen, options.max_refs, landmarker))
        for one in assignments
    )


def restore_faces(
    assignments: Sequence[Assignment],
    model: Model,
    blind: Model,
    options: RestoreOptions,
    on_step: OnStep = lambda *_: None,
) -> tuple[RestoredFace, ...]:
    """The aligned faces restored, those left alone not among them; what one model restores goes through it together.

    model: restores faces that references are shown for; blind: the others. on_step: (steps done, steps in all) of all
    faces. Raises UsageError for settings that a model does not take.

        >>> restored = restore_faces(assignments, model, model, RestoreOptions(seed=1))
    """
    wanted = [one for one in assignments if one.left_alone is None]
    groups: dict[Model, list[Assignment]] = {}
    for one in wanted:
        groups.setdefault(blind if one.shown is None else model, []).append(one)
    settings = {used: used.settings(options) for used in groups}
    total = sum(used.steps(len(group), settings[used]) for used, group in groups.items())
    restored: list[RestoredFace] = []
    done = 0
    for used, group in groups.items():
        images = used.restore(
            [one.face.seen for one in group],
            [one.shown for one in group],
            settings[used],
            lambda step, before=done: on_step(before + step, total),
        )
        done += used.steps(len(group), settings[used])
        images = [one.face.levels.given_to(image) for one, image in zip(group, images, strict=True)]
        if options.colour == "keep":
            crops = [one.face.crop for one in group]
            images = list(in_threads(lambda pair: _in_colours_of(*pair), list(zip(crops, images, strict=True))))
        restored += [RestoredFace(one, image, settings[used]) for one, image in zip(group, images, strict=True)]
    return tuple(sorted(restored, key=lambda one: one.face.number))


def compose(
    photo: Photo,
    restored: Sequence[RestoredFace],
    options: RestoreOptions,
    kept: Sequence[Outline] | None = None,
) -> Image.Image:
    """The photograph with its restored faces in their places: RGB, or RGBA if it has alpha.

    What is off the faces keeps its bytes, or becomes as much sharper as they if it is told which faces are kept
    (`faceref.faces.surroundings`). With `options.aligned` it is the face itself, at the model's resolution.

        >>> compose(photo, restored, RestoreOptions()).show()
    """
    return compose_layers(photo, [Layer.of(one) for one in restored], options.colour, kept)


def judge(crop: AlignedFace, levels: Levels = FULL, enlargement: int = 1) -> tuple[FaceQuality, FaceQuality]:
    """How good the face is at its size in the photograph, made larger or not, and at the one that recognisers see.

    levels: of the face, which say nothing of how good it is.
    """
    crop = replace(crop, image=levels.stretched(crop.image))
    own = size_in_photo(crop, enlargement)
    judged = {size: quality(crop, size) for size in {own, JUDGED_AT}}
    return judged[own], judged[JUDGED_AT]


def _said(face: FoundFace, matches: tuple[Match, ...], said: ByHand, people: Sequence[Identity[Any]]) -> Assignment:
    """A face as somebody said. Raises UsageError for a person who was not given."""
    if said.become != "person":
        return Assignment(face, None, matches, left_alone=LeftAlone.SAID_SO if said.become == "skip" else None)
    subject = f"Face {face.number} of {face.photo.name}"
    if said.person is None and len(people) > 1:
        raise UsageError(f"is to be one of {len(people)} people", subject=subject, hint="say which by their name")
    for person in people:
        if said.person is None or same_name(person.name, said.person):
            return Assignment(face, person, matches)
    reason = f"is to be {said.person or 'a person'}, who is not among those looked for"
    raise UsageError(reason, subject=subject, hint="look for them, too")


def _assigned(face: FoundFace, matches: tuple[Match, ...], believed: bool, unknown: str) -> Assignment:
    """A face that was chosen, with whom it is most like, or with nobody."""
    if not matches:
        return Assignment(face)
    if believed or is_sure(matches):
        return Assignment(face, matches[0].person, matches)
    nobody = 1 - sum(one.certainty for one in matches)
    reason = LeftAlone.NOT_SURE if len(matches) > 1 and matches[0].certainty > nobody else LeftAlone.NOBODY
    return Assignment(face, None, matches, left_alone=None if unknown == "blind" else reason)


def _as_needed(one: Assignment, options: RestoreOptions) -> Assignment:
    """Restored as much as the options say, else as much as the face needs."""
    if one.left_alone:
        return one
    if (said := options.strength_of(one.face.number)) is not None:
        return replace(one, strength=said, left_alone=None if said else LeftAlone.NO_STRENGTH)
    shown = 1.0 if options.always else strength(one.face.quality)
    return replace(one, strength=shown, left_alone=None if shown else _why_good(one.face, options.enlargement))


def _why_good(face: FoundFace, enlargement: int) -> LeftAlone:
    small = face.place is not None and size_in_photo(face.crop, enlargement) < JUDGED_AT
    return LeftAlone.SMALL if small else LeftAlone.GOOD


def _whole_picture(photo: Photo, recogniser: TorchDlibRecogniser) -> FoundFace:
    """The picture itself as an aligned face."""
    check_aligned_face(photo, photo.name)
    crop = crop_of(photo, None)
    levels = Levels.of(crop.image, crop.mask)
    image = levels.stretched(photo.image)
    seen = [image], [landmarks_of_aligned(image, recogniser.landmarker)]
    (embedding,), (probe,) = recogniser.embed_with_probes(*seen)
    enlargement = math.ceil(JUDGED_AT / crop.alignment.side)  # to the model's size
    return FoundFace(photo, 1, None, crop, embedding, probe, *judge(crop, levels, enlargement), levels=levels)


def _is_alone(face: Face, crop: AlignedFace, faces: Sequence[Face]) -> bool:
    """Whether nothing of any other face lies in its aligned square."""
    others = [crop.alignment.to_crop(other.landmarks) for other in faces if other is not face]
    return not any(((points >= 0) & (points < crop.alignment.size)).all(axis=1).any() for points in others)


def _in_colours_of(crop: AlignedFace, restored: Image.Image) -> Image.Image:
    """The restored face without a tint from the references; that of a print has the print's tone."""
    before = crop.image.resize(restored.size, Image.Resampling.LANCZOS)
    mask = np.asarray(Image.fromarray(crop.mask).resize(restored.size, Image.Resampling.BILINEAR))
    tone = Tone(np.asarray(before, dtype=np.float32), mask > 0)
    if tone.is_all:
        toned = tone.colour(np.asarray(restored, dtype=np.float32))
        restored = Image.fromarray(np.rint(toned).clip(0, 255).astype(np.uint8))
    return match_color(restored, before, mask)
