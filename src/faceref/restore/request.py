"""A restoration as values that any process can start from, and that tell whether another one is the same."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceref.allocator import keep_freed_memory
from faceref.checkpoints.exported import backend_for, keep_exports
from faceref.checkpoints.info import find_model, fingerprint_of, read_blind, read_info
from faceref.compute import Compute
from faceref.errors import CheckpointError, OutputError
from faceref.faces.detect import load_detector, load_landmarker
from faceref.faces.dlib_torch import load_recogniser
from faceref.journal import fingerprint
from faceref.people.album import read_album
from faceref.people.album_index import AlbumIndex, Stamp
from faceref.people.library import Library
from faceref.people.person import Identity
from faceref.pictures.search import list_photos, photo_digest
from faceref.restore.background import background_fingerprint
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer


def load_restorer(
    model: str, compute: Compute, detector: str = "mtcnn", landmarks: str = "dlib", recogniser: str = "trained"
) -> Restorer:
    """Whoever restores with a model, computes and finds faces as these say; raises as `Restorer.from_pretrained`.

    The process is to restore from now on: it keeps memory for that, unless it is to take little.
    """
    if compute.memory == "normal":
        keep_freed_memory()
    landmarker = load_landmarker(landmarks)
    return Restorer.from_pretrained(
        model,
        compute.device,
        compute.dtype,
        detector=load_detector(detector, landmarker),
        memory=compute.memory,
        backend=compute.backend,
        landmarker=landmarker,
        recogniser=load_recogniser(recogniser, landmarker),
    )


@dataclass(frozen=True)
class Request:
    """Everything but the photographs: who is looked for (references or names), and how.

    data_dir: where the people with these names are kept, by default the user's data folder.
    """

    model: str
    detector: str = "mtcnn"
    references: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    data_dir: Path | None = None
    options: RestoreOptions = RestoreOptions()
    compute: Compute = field(default_factory=Compute)
    landmarks: str = "dlib"
    recogniser: str = "trained"

    def load(self) -> tuple[Restorer, list[Identity[Any]]]:
        """Who restores, and who is looked for. Raises UsageError, NoReferenceError, PhotoError or CheckpointError."""
        restorer = load_restorer(self.model, self.compute, self.detector, self.landmarks, self.recogniser)
        restorer.check(self.options, with_references=bool(self.references or self.names))
        people: list[Identity[Any]] = [Library(self.data_dir).get(name) for name in self.names]
        if self.references:
            people += restorer.people(self.references, self.options, index=AlbumIndex(self.data_dir))
        return restorer, people

    def look(self) -> None:
        """See the album, if there is one, into the index, and export the model, before several processes do."""
        keep_exports(find_model(self.model), self.compute.backend)
        if any(path.is_dir() for path in self.references):
            landmarker = load_landmarker(self.landmarks)
            detector = load_detector(self.detector, landmarker)
            recogniser = load_recogniser(self.recogniser, landmarker)
            read_album(self.references, detector, recogniser, AlbumIndex(self.data_dir))

    def settings(self) -> dict[str, Any]:
        """All that decides the pixels, as JSON has it; the same request has the same, wherever its files lie."""
        folder = find_model(self.model)
        digests, blind = self._digests(), read_blind(folder)
        people = [Library(self.data_dir).get(name) for name in self.names]
        return {
            "model": read_info(folder).settings(),
            "blind": blind and blind.settings(),
            "weights": fingerprint_of(folder),
            "detector": self.detector,
            "landmarks": self.landmarks,
            "recogniser": self.recogniser,
            "dtype": self.compute.dtype,
            "backend": backend_for(folder, self.compute.backend),
            "references": fingerprint(digests) if digests else None,
            "people": {
                str(person.name): fingerprint([(one.digest, one.embedding.tolist()) for one in person.references])
                for person in people
            },
            **self.options.model_dump(mode="json"),
            "background": background_fingerprint(self.options),
        }

    def _digests(self) -> list[str]:
        """Of the references' bytes, each once; files that the index knows as they are need not be read."""
        paths = [path for path in list_photos(self.references) if path.exists()]
        known: dict[Path, str] = {}
        with suppress(OutputError, CheckpointError, OSError):  # then all are read
            known = AlbumIndex(self.data_dir).digests({path: Stamp.of(path) for path in paths})
        return list(dict.fromkeys(known.get(path) or photo_digest(path) for path in paths))
