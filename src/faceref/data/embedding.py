"""Embeddings of aligned faces by a recogniser of the user's choice, remembered on disk by file."""

import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from faceref.data.embedding_space import EmbeddingSpace, embedder_of
from faceref.data.table import Row
from faceref.errors import DataError, OutputError
from faceref.files import stamp_of, write_atomically
from faceref.jobs import OnItem, run
from faceref.people.measure import Measure
from faceref.pictures.aligned import open_face

logger = logging.getLogger(__name__)
BATCH = 32
SAVE_EVERY = 4096  # faces: what an interruption by force may cost


@dataclass(frozen=True, eq=False)
class Embeddings:
    """files, and their embeddings float32 [N, D] in that order; unreadable: (file, reason).

    Each is the mean of those of the face and its mirror image, which recognises better (docs/data.md).
    """

    files: list[str]
    vectors: np.ndarray
    unreadable: list[tuple[str, str]]


@dataclass(frozen=True)
class EmbedWork:
    """Embeds a batch of files named relative to `folder`."""

    folder: Path
    space: EmbeddingSpace
    device: str

    def start(self) -> Callable[[tuple[str, ...]], list[tuple[str, np.ndarray | str]]]:
        embed = embedder_of(self.space, self.device)
        return lambda files: self._embed(files, embed)

    def _embed(
        self, files: tuple[str, ...], embed: Callable[[list[Image.Image]], np.ndarray]
    ) -> list[tuple[str, np.ndarray | str]]:
        """Each file with its embedding [D], or with the reason why there is none."""
        faces, results = {}, []
        for file in files:
            try:
                faces[file] = open_face(self.folder / file).convert("RGB")
            except DataError as error:
                results.append((file, str(error)))
        if faces:
            pictures = list(faces.values())
            with _one_thread(self.device):
                vectors = (embed(pictures) + embed([ImageOps.mirror(picture) for picture in pictures])) / 2
            if self.space.measure is Measure.COSINE:
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            results += zip(faces, vectors, strict=True)
        return results


def embed_faces(
    folder: Path,
    rows: Sequence[Row],
    space: EmbeddingSpace,
    *,
    device: str = "cpu",
    workers: int = 1,
    ray: bool = False,
    on_batch: OnItem = lambda *_: None,
) -> Embeddings:
    """The embeddings of the aligned faces that `rows` name, those of earlier runs from FOLDER/embeddings/.

    A file counts as known while its size and time of change are the same; a damaged cache is made anew. On the CPU
    each worker computes on one thread, so that the bytes do not depend on the number of workers. Raises CheckpointError
    for a recogniser that cannot be read, DataError if no face can be.
    """
    cache = folder / "embeddings" / f"{space.name}.npz"
    files = [row["file"] for row in rows]
    stamps = {file: stamp for file in files if (stamp := stamp_of(folder / file)) is not None}
    known = _read(cache)
    unreadable = [(file, f"{folder / file} is missing") for file in files if file not in stamps]
    new = [file for file, stamp in stamps.items() if file not in known or known[file][0] != stamp]
    batches = [tuple(new[i : i + BATCH]) for i in range(0, len(new), BATCH)]
    unsaved = 0
    try:
        work = EmbedWork(folder.absolute(), space, device)
        for batch in run(work, batches, workers=workers, ray=ray, on_item=on_batch):
            for file, result in batch:
                if isinstance(result, str):
                    unreadable.append((file, result))
                    stamps.pop(file)
                else:
                    known[file] = (stamps[file], result)
                    unsaved += 1
            if unsaved >= SAVE_EVERY:
                _keep(cache, known)
                unsaved = 0
    finally:
        if unsaved:
            _keep(cache, known)
    if not stamps:
        raise DataError(f"No face in {folder} can be read; the first of {len(unreadable)}: {unreadable[0][1]}")
    return Embeddings(list(stamps), np.stack([known[file][1] for file in stamps]), sorted(unreadable))


def _read(cache: Path) -> dict[str, tuple[tuple[int, int], np.ndarray]]:
    """What is known of each file: its stamp and embedding; nothing where the cache is missing or damaged."""
    try:
        with cache.open("rb") as file, np.load(file) as saved:
            stamps = map(tuple, saved["stamps"].tolist())
            return dict(zip(saved["files"].tolist(), zip(stamps, saved["vectors"], strict=True), strict=True))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


def _keep(cache: Path, known: dict[str, tuple[tuple[int, int], np.ndarray]]) -> None:
    """For later runs; where a data set cannot be written, they embed it again."""
    files = sorted(known)  # in whatever order they were finished
    stamps, vectors = zip(*(known[file] for file in files), strict=True)
    try:
        with write_atomically(cache) as temporary:
            np.savez(temporary, files=np.array(files), stamps=np.array(stamps), vectors=np.stack(vectors))
    except OutputError as error:
        logger.warning("Embeddings are not kept: %s", error)


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """On the CPU torch computes on one thread within; the setting is of the whole process and is put back."""
    import torch

    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
