"""An album: photographs of several people, looked at once and remembered, whatever lies in the folder."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TypeVar

from faceref.download import sha256_of
from faceref.errors import CheckpointError, OutputError, PhotoError, printable
from faceref.faces.detect import Detector, DlibDetector
from faceref.faces.dlib_detector import dlib_weights
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.jobs import OnItem
from faceref.people.album_index import AlbumIndex, Stamp
from faceref.people.person import SkippedReference
from faceref.people.seen import Seen, look
from faceref.pictures.photo import open_photo
from faceref.pictures.search import list_photos

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AlbumPhoto:
    """A photograph of an album and what was seen in it.

    content: SHA-256 of its file; copies: names of other files with the same pixels.
    """

    path: Path
    seen: Seen
    content: str = ""
    copies: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return printable(self.path)


@dataclass(frozen=True, eq=False)
class Album:
    """The photographs of an album that may show people, each once; skipped: the others, and why."""

    photos: tuple[AlbumPhoto, ...]
    skipped: tuple[SkippedReference, ...]


def read_album(
    paths: Sequence[str | Path],
    detector: Detector,
    recogniser: TorchDlibRecogniser,
    index: AlbumIndex | None = None,
    *,
    on_photo: OnItem = lambda *_: None,
) -> Album:
    """Look at the photographs of files and folders; those that the index knows are not even opened.

    What was looked at is kept after each photograph: an interruption loses nothing. index None: nothing is kept, as
    with one that cannot be used, which is logged. A photograph that cannot be read, or that vanishes meanwhile, is
    skipped, as are results of ours.

    Raises PhotoError for a folder that is missing or has no pictures.
    """
    reader = _Reader(detector, recogniser, index)
    files = list(dict.fromkeys(list_photos(paths)))  # one that lies in two of them is no copy of itself
    known = reader.known(files)
    photos: dict[str, AlbumPhoto] = {}  # by pixels
    skipped: list[SkippedReference] = []
    for done, path in enumerate(files, start=1):
        name = printable(path)
        try:
            content, seen = known.get(path) or reader.read(path)
            if seen.ours:
                raise PhotoError("it is AI-restored itself")
            same = photos.get(seen.pixels)
            new = AlbumPhoto(path, seen, content)
            photos[seen.pixels] = replace(same, copies=(*same.copies, name)) if same else new
        except PhotoError as error:
            skipped.append(SkippedReference.because(name, error))
        on_photo(done, len(files))
    return Album(tuple(photos.values()), tuple(skipped))


def seen_by(detector: Detector, recogniser: TorchDlibRecogniser) -> str:
    """What the index knows those who look by, if others see otherwise: their kinds, and all weights."""
    kinds = [type(detector).__name__, type(recogniser).__name__]
    if not isinstance(recogniser.landmarker, DlibDetector):  # other landmarks, other embeddings
        kinds.append(type(recogniser.landmarker).__name__)
    ours = resources.files("faceref") / "weights"
    networks = [dlib_weights("dlib_face_recognition_resnet_model_v1.dat"), str(ours / "face_quality.json")]
    if recogniser.probes == "trained":
        networks.append(str(ours / "recogniser.safetensors"))
    return "/".join(kinds + [_digest(network)[:16] for network in networks])


class _Reader:
    """Looks at files, and remembers what it saw."""

    def __init__(self, detector: Detector, recogniser: TorchDlibRecogniser, index: AlbumIndex | None) -> None:
        self.detector, self.recogniser, self.index = detector, recogniser, index
        self.seen_by = seen_by(detector, recogniser)

    def known(self, files: Sequence[Path]) -> dict[Path, tuple[str, Seen]]:
        """Digests of files that are as they were, and what was seen in them."""
        stamps: dict[Path, Stamp] = {}
        for path in files:
            with suppress(OSError):  # it is said when the file is read
                stamps[path] = Stamp.of(path)
        digests = self._ask(lambda index: index.digests(stamps), {})
        seen = self._ask(lambda index: index.seen(list(digests.values()), self.seen_by), {})
        return {path: (digest, seen[digest]) for path, digest in digests.items() if digest in seen}

    def read(self, path: Path) -> tuple[str, Seen]:
        """The same of a file that is new, moved or changed. Raises PhotoError."""
        try:
            stamp, content = Stamp.of(path), path.read_bytes()
        except OSError as error:
            raise PhotoError(f"cannot be read ({error.strerror})", subject=path) from error
        digest = hashlib.sha256(content).hexdigest()
        known = self._ask(lambda index: index.seen([digest], self.seen_by), {}).get(digest)
        seen = known or look(open_photo(content), self.detector, self.recogniser)
        self._ask(lambda index: index.remember(path, stamp, digest, None if known else seen, self.seen_by), None)
        return digest, seen

    def _ask(self, question: Callable[[AlbumIndex], T], otherwise: T) -> T:
        """What the index says; one that cannot be used is said once, and done without."""
        if self.index is None:
            return otherwise
        try:
            return question(self.index)
        except (OutputError, CheckpointError) as error:
            logger.error("What is seen in albums is not remembered: %s", error)
            self.index = None
            return otherwise


@cache
def _digest(path: str) -> str:
    return sha256_of(Path(path))
