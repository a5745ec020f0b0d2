"""Restoring on one screen: from a photograph and people to the photograph with its faces restored."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faceref.checkpoints.info import find_model
from faceref.checkpoints.store import load_blind, load_pipeline
from faceref.compute import Backend, DtypeName, Memory
from faceref.devices import Timings
from faceref.errors import FacerefError, NoFaceError, NoOtherPhotographError, OtherPersonError, PhotoError, UsageError
from faceref.faces.detect import Detector, Landmarker, load_detector, load_landmarker
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.faces.recognise import EMBEDDING
from faceref.jobs import OnItem
from faceref.people.album import read_album
from faceref.people.album_index import AlbumIndex
from faceref.people.album_people import one_person, people_of, shows_one_person
from faceref.people.person import Identity, Person
from faceref.people.references import read_person
from faceref.people.seen import pixel_digest
from faceref.pictures.decode import check_size
from faceref.pictures.photo import Photo, PhotoSource, open_photo
from faceref.restore.background import Upscalers, clean, enlarge, kept_around, over
from faceref.restore.faces import Assignment, FoundFace
from faceref.restore.left_alone import LeftAlone
from faceref.restore.model import Model, OnStep
from faceref.restore.options import CLEAN, Options, RestoreOptions, options_of
from faceref.restore.result import Result
from faceref.restore.steps import as_needed_when_cleaned, assign, compose, find_faces, restore_faces, show_references

People = Identity[Any] | PhotoSource | Iterable[Identity[Any]] | Iterable[PhotoSource]


class Restorer:
    """A model with all that is needed to restore photographs with it. It may be shared between threads."""

    def __init__(
        self,
        model: Model,
        blind: Model | None = None,
        detector: Detector | None = None,
        recogniser: TorchDlibRecogniser | None = None,
        landmarker: Landmarker | None = None,
    ) -> None:
        """blind: restores faces without references; `model` does by default. landmarker: dlib's by default."""
        self.model = model
        self.blind = blind or model
        self._landmarker = landmarker or load_landmarker()
        self.detector = detector or load_detector(landmarker=self._landmarker)
        self.recogniser = recogniser or TorchDlibRecogniser(landmarker=self._landmarker)
        self._upscalers = Upscalers(model.device)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "small",
        device: torch.device | str | None = None,
        dtype: torch.dtype | DtypeName = "float32",
        detector: Detector | None = None,
        memory: Memory = "normal",
        *,
        backend: Backend | None = None,
        landmarker: Landmarker | None = None,
        recogniser: TorchDlibRecogniser | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> "Restorer":
        """Load a named model, a model folder or org/name of Hugging Face's hub; on the best device that there is.

        device, dtype, memory, backend: see `faceref.compute.Compute`. detector, landmarker: see `faceref.faces.detect`;
        recogniser: `faceref.faces.dlib_torch`.
        revision, token: of a model on the hub (see `faceref.checkpoints.hub.fetch_model`, also for what is raised).
        Raises UsageError (no such model) or CheckpointError (a damaged one).
        """
        folder = find_model(name_or_path, revision=revision, token=token)
        blind = load_blind(folder, device, dtype, memory, backend)
        model = Model(*load_pipeline(folder, device, dtype, memory, backend))
        return cls(model, blind and Model(*blind), detector, recogniser, landmarker)

    def restore(
        self,
        photo: PhotoSource,
        people: People = (),
        options: Options = RestoreOptions(),
        *,
        on_step: OnStep = lambda done, total: None,
        on_photo: OnItem = lambda *_: None,
    ) -> Result:
        """Restore faces of a photograph so that they look like the people in the references.

        photo: a file or a PIL picture of any size. people: references (files, folders, pictures; a folder may be an
        album of several people), or people read beforehand (`people`, `person`); nobody: the face is restored from the
        photograph alone, by the model that this one brings along for that if there is one. options: or a mapping of
        such settings. on_step: called with (steps done, steps in all) of the faces, and anew of the tiles of a
        background; on_photo: before, of references that are read.

        Raises PhotoError, NoFaceError, NoReferenceError, OtherPersonError or UsageError (see `faceref.errors`).

            >>> Restorer.from_pretrained().restore("old.jpg", ["a.jpg", "b.jpg"]).save("restored.png")
        """
        options = options_of(options)
        looked_at = self.match(photo, people, options, on_photo=on_photo)
        time, under, assignments = Timings(self.model.device), looked_at.photo, looked_at.assignments
        upscaler = self._upscalers.get(options)
        cleaner = upscaler if options.background == CLEAN else None
        if cleaner is not None:
            with time("clean"):
                under = clean(under, cleaner, on_step)
                assignments = as_needed_when_cleaned(assignments, under, options)
        with time("choose"):
            assignments = show_references(assignments, options, self._landmarker)
        with time("restore"):
            restored = restore_faces(assignments, self.model, self.blind, options, on_step)
        placed = over(under, restored) if cleaner else restored
        if options.enlargement > 1:
            with time("enlarge"):
                faces, by = [one.face for one in assignments], None if cleaner else upscaler
                under, placed = enlarge(under, faces, placed, options.enlargement, by, on_step)
        with time("compose"):
            kept = kept_around(assignments, options.enlargement) if cleaner else None
            image = compose(under, placed, options, kept)
        with time("compare"):
            embeddings = self.recogniser.embed_aligned([one.image for one in restored])
        return replace(
            looked_at,
            image=image,
            under=under if cleaner and options.enlargement == 1 else None,
            assignments=assignments,
            faces=restored,
            embeddings=embeddings,
            timings=looked_at.timings | time.seconds,
        )

    def match(
        self,
        photo: PhotoSource,
        people: People = (),
        options: Options = RestoreOptions(),
        *,
        on_photo: OnItem = lambda *_: None,
    ) -> Result:
        """What `restore` does before it restores anything: the photograph, and what is to become of its faces.

        >>> Restorer.from_pretrained().match("group.jpg", [grandma, grandpa]).account().faces
        """
        options = options_of(options)
        read, sources = _sorted_out(people)
        self.check(options, with_references=bool(read or sources))
        time = Timings(self.model.device)
        with time("open"):
            original = open_photo(photo)
        with _warning_of(original):
            with time("find"):
                faces = self._find(original, options)
            with time("references"):
                if sources:
                    read = self.people(sources, options, on_photo=on_photo)
                known = _usable(read, original, faces)
            with time("assign"):
                assignments = _assign(faces, known, options)
        return Result(
            original.image,
            original,
            assignments,
            faces=(),
            embeddings=self.recogniser.embed_aligned([]),
            people=tuple(known),
            timings=time.seconds,
            background=options.background,
            enlargement=options.enlargement,
            choice=options.face,
        )

    def people(
        self,
        sources: PhotoSource | Iterable[PhotoSource],
        options: Options = RestoreOptions(),
        *,
        index: AlbumIndex | None = None,
        on_photo: OnItem = lambda *_: None,
    ) -> list[Identity[Any]]:
        """Who is on the photographs of files and folders: one person (`person`), or in an album several.

        Only a folder can be an album, and is one if its photographs show several people; what was seen in it is
        remembered in `index`, if one is given that can be used. Photographs are opened when they are needed. on_photo:
        called with (photographs looked at, photographs in all). Raises as `person`.
        """
        options = options_of(options)
        given = [sources] if isinstance(sources, PhotoSource) else list(sources)
        paths = [one for one in given if isinstance(one, str | Path)]
        named = options.aligned or options.largest_reference_face or len(paths) < len(given)
        if named or not any(Path(path).is_dir() for path in paths):
            return [self.person(given, options, on_photo=on_photo)]
        album = read_album(paths, self.detector, self.recogniser, index, on_photo=on_photo)
        people = people_of(album)
        if not people or shows_one_person(album, people):
            return [one_person(album)]
        return list(people)

    def person(
        self,
        sources: PhotoSource | Iterable[PhotoSource],
        options: Options = RestoreOptions(),
        *,
        on_photo: OnItem = lambda *_: None,
    ) -> Person:
        """Read one person's references (files, folders, pictures) once, for any number of photographs and models.

        See `faceref.people.references.read_person` for what is raised.
        """
        options = options_of(options)
        return read_person(
            [sources] if isinstance(sources, PhotoSource) else sources,
            self.detector,
            self.recogniser,
            aligned=options.aligned,
            largest_face=options.largest_reference_face,
            on_photo=on_photo,
        )

    def check(self, options: RestoreOptions, *, with_references: bool) -> None:
        """Raises UsageError for all that can be wrong with a request, before any work."""
        if with_references:
            self.model.check_takes_references()
            self.model.settings(options)
        if not with_references or options.may_be_blind:
            self.blind.settings(options)
        if not with_references and options.guidance is not None:
            raise UsageError("Guidance is towards references, and none were given", hint="leave it out or give some")
        self._upscalers.check(options)

    def _find(self, photo: Photo, options: RestoreOptions) -> tuple[FoundFace, ...]:
        """The faces; that there are none is no error where the rest of the picture is drawn all the same."""
        if options.background:
            check_size(photo.image.size, photo.name, options.enlargement)
        try:
            return find_faces(
                photo, self.detector, self.recogniser, aligned=options.aligned, enlargement=options.enlargement
            )
        except NoFaceError:
            if not options.background:
                raise
            return ()


@contextmanager
def _warning_of(photo: Photo) -> Iterator[None]:
    """Errors within it bring the photograph's warnings along, but those that say what is wrong with a file."""
    try:
        yield
    except PhotoError:
        raise
    except FacerefError as error:
        error.warnings = photo.warnings
        raise


def _assign(
    faces: Sequence[FoundFace], people: Sequence[Identity[Any]], options: RestoreOptions
) -> tuple[Assignment, ...]:
    """As `assign`; that no face is the person's is no error where the rest of the picture is drawn all the same."""
    try:
        return assign(faces, people, options) if faces else ()
    except OtherPersonError:
        if not options.background:
            raise
        return tuple(Assignment(face, left_alone=LeftAlone.NOBODY) for face in faces)


def _sorted_out(people: People) -> tuple[list[Identity[Any]], list[PhotoSource]]:
    """People, or the sources of references; the other list is empty."""
    given = [people] if isinstance(people, Identity | PhotoSource) else list(people)
    read = list(dict.fromkeys(one for one in given if isinstance(one, Identity)))  # twice they would be two alike
    sources = [one for one in given if not isinstance(one, Identity)]
    if read and sources:
        raise UsageError("People and photographs were given together", hint="read the photographs with person() first")
    return read, sources


def _usable(people: Sequence[Identity[Any]], photo: Photo, faces: Sequence[FoundFace]) -> list[Identity[Any]]:
    """The people by references that are not the photograph itself, and do show them. Raises NoOtherPhotographError."""
    digest = pixel_digest(photo) if people else ""
    embeddings = np.array([face.embedding for face in faces]).reshape(-1, EMBEDDING)
    left = [one.without_outliers() for person in people if (one := person.without_photograph(digest, embeddings))]
    if len(left) == 1 < len(people):  # it may as well be one of the others
        left = [replace(left[0], expected=False)]
    if people and not left:
        raise NoOtherPhotographError(
            f"None of the references can be used ({photo.name}: it is the photograph to be restored)",
            hint="give other photographs of the person",
        )
    return left
