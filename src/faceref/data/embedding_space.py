"""The space that a recogniser embeds faces in: which network, how embeddings are compared, which distance says what."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.errors import CheckpointError, UsageError
from faceref.people.measure import Measure


@dataclass(frozen=True)
class EmbeddingSpace:
    """dlib's, or a file's: MobileFaceNet or IResNet (safetensors, ONNX), any other ONNX through ONNX Runtime.

    Distances are in `measure`. `threshold`: groups closer than this are one person; `near_duplicate`: two faces closer
    than this are almost one photograph; `reference_distance`: two faces of one person farther than this do not serve as
    references of each other.
    """

    path: Path | None
    measure: Measure
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
            reason = f"cannot be read ({error.strerror})"
            raise CheckpointError(reason, subject=self.path, hint="give a recogniser's file") from error


def embedding_space(path: Path | None) -> EmbeddingSpace:
    """dlib's without a path, with a threshold chosen on LFW's training people (docs/data.md).

    The distances for other files are the paper's for ArcFace (Section 4.1 of ReF-LDM).
    """
    if path is None:
        return EmbeddingSpace(None, Measure.EUCLIDEAN, threshold=0.51, near_duplicate=0.2, reference_distance=0.6)
    return EmbeddingSpace(path, Measure.COSINE, threshold=0.4, near_duplicate=0.1, reference_distance=0.4)


def embedder_of(space: EmbeddingSpace, device: str) -> Callable[[list[Image.Image]], np.ndarray]:
    """The function from faces of any sizes to embeddings float32 [N, D]; unit vectors where compared by cosine.

    Raises CheckpointError for a file that is no recogniser, UsageError for one that needs what is not installed.
    """
    import torch

    if space.path is None:
        from faceref.faces.dlib_torch import TorchDlibRecogniser

        return TorchDlibRecogniser(torch.device(device)).embed_aligned
    from faceref.models.recogniser_files import load_face_recogniser

    try:
        network = load_face_recogniser(space.path).to(device)
    except CheckpointError as error:
        if space.path.suffix != ".onnx":
            raise
        return _load_onnx(space.path, error)

    def embed(faces: list[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            pixels = [torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].to(device) for face in faces]
            return np.concatenate([network.embed(face.float() / 127.5 - 1).cpu().numpy() for face in pixels])

    return embed


def _load_onnx(path: Path, refused: CheckpointError) -> Callable[[list[Image.Image]], np.ndarray]:
    """Any network [1, 3, H, W] -> [1, D] with ArcFace's conventions: its box of the face, RGB in [-1, 1]."""
    from faceref.models.identity import ARCFACE_BOX

    try:
        import onnxruntime
    except ImportError:
        hint = "to run it as it is, install ONNX Runtime: pip install 'faceref[arcface]'"
        raise UsageError(refused.reason, subject=refused.subject, hint=hint) from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common class but this
        reason = f"cannot be read as ONNX ({error})"
        raise CheckpointError(reason, subject=path, hint="give a recogniser's file") from error
    network_input = session.get_inputs()[0]
    shape = network_input.shape
    if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) for side in shape[2:]):
        unfit = f"takes {shape}, not pictures [N, 3, H, W] of a fixed size"
        raise CheckpointError(unfit, subject=path, hint="give a recogniser")

    def embed(faces: list[Image.Image]) -> np.ndarray:
        vectors = []
        for face in faces:
            low, high = (share * face.width for share in ARCFACE_BOX)
            crop = face.resize((shape[3], shape[2]), Image.Resampling.BOX, box=(low, low, high, high))
            pixels = np.asarray(crop, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
            vectors.append(np.asarray(session.run(None, {network_input.name: pixels})[0], np.float32).reshape(-1))
        stacked = np.stack(vectors)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    return embed
