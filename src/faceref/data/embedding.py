"""Embeddings of aligned faces by a recogniser of the user's choice, remembered on disk by file.

A `Recogniser` also says how its embeddings are compared: which distance is the same person, which the same photograph.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from faceref.data.index import Row
from faceref.errors import CheckpointError, DataError, UsageError
from faceref.files import write_atomically
from faceref.jobs import run
from faceref.pictures.aligned import open_face

BATCH = 32
SAVE_EVERY = 4096  # faces: what an interruption by force may cost
CENTRE = (0.0625, 0.9375)  # ArcFace's box in an FFHQ-aligned face, shares of its side (ReF-LDM's released code)


@dataclass(frozen=True)
class Recogniser:
    """dlib's, or a file: MobileFaceNet or IResNet (safetensors, ONNX), any other ONNX through ONNX Runtime.

    Embeddings are compared by Euclidean distance as dlib's are, or by 1 - cosine. `threshold`: groups closer than this
    are one person; `near_duplicate`: two faces closer than this are almost one photograph; `reference_distance`: two
    faces of one person farther than this do not serve as references of each other.
    """

    path: Path | None
    metric: Literal["euclidean", "cosine"]
    threshold: float
    near_duplicate: float
    reference_distance: float

    @property
    def name(self) -> str:
        """Tells one recogniser from another, also when a file has been replaced."""
        if self.path is None:
            return "dlib"
        try:
            with self.path.open("rb") as file:
                return f"{self.path.stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be read ({error.strerror}); give a recogniser's file."
            ) from error

    def radius(self, distance: float) -> float:
        """The squared Euclidean distance of two stored embeddings that are `distance` apart."""
        return distance**2 if self.metric == "euclidean" else 2 * distance

    def distances(self, squared: np.ndarray) -> np.ndarray:
        """The inverse of `radius`, for arrays."""
        squared = np.maximum(squared, 0)  # rounding
        return np.sqrt(squared) if self.metric == "euclidean" else squared / 2

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Distances of embeddings [..., D]."""
        return self.distances(((a - b) ** 2).sum(-1))


def choose_recogniser(path: Path | None) -> Recogniser:
    """dlib's without a path, with a threshold chosen on LFW's training people (docs/data.md).

    The distances for other files are the paper's for ArcFace (Section 4.1 of ReF-LDM).
    """
    if path is None:
        return Recogniser(None, "euclidean", threshold=0.51, near_duplicate=0.2, reference_distance=0.6)
    return Recogniser(path, "cosine", threshold=0.4, near_duplicate=0.1, reference_distance=0.4)


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
    recogniser: Recogniser
    device: str

    def start(self) -> Callable[[tuple[str, ...]], list[tuple[str, np.ndarray | str]]]:
        embed = _load(self.recogniser, self.device)
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
            if self.recogniser.metric == "cosine":
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            results += zip(faces, vectors, strict=True)
        return results


def embed_faces(
    folder: Path,
    rows: Sequence[Row],
    recogniser: Recogniser,
    *,
    device: str = "cpu",
    workers: int = 1,
    ray: bool = False,
) -> Embeddings:
    """The embeddings of the aligned faces that `rows` name, those of earlier runs from FOLDER/embeddings/.

    A file counts as known while its size and time of change are the same. On the CPU each worker computes on one
    thread, so that the bytes do not depend on the number of workers. Raises CheckpointError for a recogniser that
    cannot be read, DataError if no face can be.
    """
    cache = folder / "embeddings" / f"{recogniser.name}.npz"
    files = [row["file"] for row in rows]
    stamps = {file: stamp for file in files if (stamp := _stamp(folder / file)) is not None}
    known = _read(cache)
    unreadable = [(file, f"{folder / file} is missing") for file in files if file not in stamps]
    new = [file for file, stamp in stamps.items() if file not in known or known[file][0] != stamp]
    batches = [tuple(new[i : i + BATCH]) for i in range(0, len(new), BATCH)]
    unsaved = 0
    try:
        work = EmbedWork(folder.absolute(), recogniser, device)
        for batch in run(work, batches, workers=workers, ray=ray, description="recognising"):
            for file, result in batch:
                if isinstance(result, str):
                    unreadable.append((file, result))
                    stamps.pop(file)
                else:
                    known[file] = (stamps[file], result)
                    unsaved += 1
            if unsaved >= SAVE_EVERY:
                _write(cache, known)
                unsaved = 0
    finally:
        if unsaved:
            _write(cache, known)
    if not stamps:
        raise DataError(f"No face in {folder} can be read; the first of {len(unreadable)}: {unreadable[0][1]}.")
    return Embeddings(list(stamps), np.stack([known[file][1] for file in stamps]), sorted(unreadable))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change (ns); None for what is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _read(cache: Path) -> dict[str, tuple[tuple[int, int], np.ndarray]]:
    if not cache.exists():
        return {}
    with np.load(cache) as saved:
        stamps = map(tuple, saved["stamps"].tolist())
        return dict(zip(saved["files"].tolist(), zip(stamps, saved["vectors"], strict=True), strict=True))


def _write(cache: Path, known: dict[str, tuple[tuple[int, int], np.ndarray]]) -> None:
    files = sorted(known)  # in whatever order they were finished
    stamps, vectors = zip(*(known[file] for file in files), strict=True)
    with write_atomically(cache) as temporary:
        np.savez(temporary, files=np.array(files), stamps=np.array(stamps), vectors=np.stack(vectors))


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


def _load(recogniser: Recogniser, device: str) -> Callable[[list[Image.Image]], np.ndarray]:
    """The function from faces of any sizes to embeddings float32 [N, D]; unit vectors where compared by cosine."""
    import torch

    if recogniser.path is None:
        from faceref.faces.dlib_torch import TorchDlibRecogniser

        return TorchDlibRecogniser(torch.device(device)).embed_aligned
    from faceref.models.recogniser_files import load_recogniser

    try:
        network = load_recogniser(recogniser.path).to(device)
    except CheckpointError as error:
        if recogniser.path.suffix != ".onnx":
            raise
        return _load_onnx(recogniser.path, error)

    def embed(faces: list[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            pixels = [torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].to(device) for face in faces]
            return np.concatenate([network.embed(face.float() / 127.5 - 1).cpu().numpy() for face in pixels])

    return embed


def _load_onnx(path: Path, reason: CheckpointError) -> Callable[[list[Image.Image]], np.ndarray]:
    """Any network [1, 3, H, W] -> [1, D] with ArcFace's conventions: its box of the face, RGB in [-1, 1]."""
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(
            f"{reason} To run it as it is, install ONNX Runtime: pip install 'faceref[arcface]'."
        ) from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class but this
        raise CheckpointError(f"{path} cannot be read as ONNX ({error}); give a recogniser's file.") from error
    network_input = session.get_inputs()[0]
    shape = network_input.shape
    if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) for side in shape[2:]):
        raise CheckpointError(f"{path} takes {shape}, not pictures [N, 3, H, W] of a fixed size; give a recogniser.")

    def embed(faces: list[Image.Image]) -> np.ndarray:
        vectors = []
        for face in faces:
            box = [share * face.width for share in (CENTRE[0], CENTRE[0], CENTRE[1], CENTRE[1])]
            crop = face.resize((shape[3], shape[2]), Image.Resampling.BOX, box=(box[0], box[1], box[2], box[3]))
            pixels = np.asarray(crop, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
            vectors.append(np.asarray(session.run(None, {network_input.name: pixels})[0], np.float32).reshape(-1))
        stacked = np.stack(vectors)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    return embed
