"""Who is it: dlib's embedding of restorations and photographs, and the mean of a set that centres its cosine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.data.decoded import decode_face
from faceref.data.table import read_table
from faceref.errors import DataError
from faceref.faces.centre import Centre
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.faces.recognise import DlibRecogniser

BATCH = 32  # faces embedded at a time
CENTRE_PHOTOGRAPHS = 2000  # enough: the standard error of the mean is 1/45 of the spread


@dataclass(frozen=True, eq=False)
class FaceFile:
    """An aligned face: pixels uint8 [S, S, 3], inside uint8 [S, S], 1 where the pixel was in the photograph."""

    pixels: np.ndarray
    inside: np.ndarray


@dataclass(frozen=True, eq=False)
class DescribedFace:
    """Landmarks float32 [68, 2] in pixels of the aligned face, and dlib's embedding float32 [128] there."""

    landmarks: np.ndarray
    embedding: np.ndarray


class FaceDescriber:
    """Landmarks and embeddings of aligned faces of `size` px; those of photographs on disk are remembered."""

    def __init__(self, recogniser: DlibRecogniser, size: int) -> None:
        self.recogniser = recogniser
        self.size = size
        self._known: dict[Path, DescribedFace] = {}

    def photographs(self, paths: Sequence[Path]) -> list[DescribedFace]:
        """Photographs on disk, brought to the working size: each with landmarks of its own."""
        new = [path for path in dict.fromkeys(paths) if path not in self._known]
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            images = [Image.fromarray(read_face(path, self.size).pixels) for path in batch]
            landmarks = [landmarks_of_aligned(image, self.recogniser.landmarker) for image in images]
            embeddings = self.recogniser.embed_batch(images, landmarks)
            self._known |= {
                path: DescribedFace(*face) for path, *face in zip(batch, landmarks, embeddings, strict=True)
            }
        return [self._known[path] for path in paths]

    def embed(self, pictures: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures uint8 [B, S, S, 3] cut out at given landmarks, those of the truth -> embeddings float32 [B, 128].

        A face too degraded for landmarks of its own, or none at all, is thus measured like any other, never dropped.
        """
        return self.recogniser.embed_batch([Image.fromarray(picture) for picture in pictures], landmarks)


def compute_centre(index: Path, split: str, describer: FaceDescriber, seed: int) -> Centre:
    """The mean over a seeded sample of 2,000 photographs (or all) of a split of an index.csv beside its photographs."""
    files = [row["file"] for row in read_table(index, ("file", "split")) if row["split"] == split]
    if not files:
        reason = f"holds no photograph of the split {split!r}"
        raise DataError(reason, subject=index, hint="check the name of the split")
    chosen = np.random.default_rng(seed).permutation(files)[:CENTRE_PHOTOGRAPHS]
    described = describer.photographs([index.parent / name for name in chosen])
    mean = np.stack([face.embedding for face in described]).astype(np.float64).mean(axis=0)
    return Centre(mean, len(chosen), f"{index.parent.name}, split {split}, at {describer.size} px")


def read_face(path: Path, size: int) -> FaceFile:
    """An aligned face at the working size; alpha 0 marks pixels that were not in the photograph. Raises DataError."""
    face = decode_face(path, size)
    return FaceFile(np.ascontiguousarray(face[:3].transpose(1, 2, 0)), face[3] // 255)
