"""Landmarks on free terms: MediaPipe's face mesh, of whose 468 points those 68 are taken that lie where dlib's do.

The network (Kartynnik et al. 2019, Apache-2.0) comes with faceref: mediapipe/modules/face_landmark/face_landmark.tflite
of the package mediapipe 0.10.21. OpenCV runs it.
"""

import threading
from functools import cached_property
from importlib import resources

import cv2
import numpy as np
from PIL import Image

from faceref.faces.boxes import Box
from faceref.pictures.cut import cut_out

SIZE = 192  # pixels that the network takes
# Of the box of dlib's landmarks: how much wider the network's square is, and how far below its middle. Chosen on 40
# photographs of pins256; docs/evaluation.md has what comes of it on others.
WIDER, LOWER = 1.3, 0.04
# Where in the mesh the 68 points lie, by its vertices' numbers: those that are used to stand for iBUG's
JAW = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
NOSE = (168, 197, 5, 4, 75, 97, 2, 326, 305)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87)
VERTICES = (*JAW, *BROWS, *NOSE, *EYES, *LIPS)


class MeshLandmarker:
    """The 68 landmarks of faces that are about upright. May be shared between threads: one at a time enters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def landmarks(self, image: Image.Image, box: Box) -> np.ndarray:
        """Landmarks float32 [68, 2] of the face of an RGB picture known to fill `box` (left, top, right, bottom)."""
        left, top, right, bottom = box
        side = max(right - left, bottom - top) * WIDER
        centre = np.array([(left + right) / 2, (top + bottom) / 2 + LOWER * (bottom - top)])
        with self._lock:
            self._network.setInput(_input(image, centre, side))
            points = np.reshape(self._network.forward(), (468, 3))[list(VERTICES), :2]
        return ((points / SIZE - 0.5) * side + centre - 0.5).astype(np.float32)

    @cached_property
    def _network(self) -> cv2.dnn.Net:
        return cv2.dnn.readNetFromTFLite(str(resources.files("faceref") / "weights" / "face_mesh.tflite"))


def _input(image: Image.Image, centre: np.ndarray, side: float) -> np.ndarray:
    """The square around `centre` float32 [1, 3, SIZE, SIZE], RGB in [0, 1], black outside of the picture."""
    corner = centre - side / 2
    box = np.concatenate([corner, corner + side])
    whole = np.rint(box).astype(int)  # a large face is shrunk without aliases, which a warp would leave
    cut = cut_out(image, tuple(whole.tolist()))
    within = tuple((box - np.tile(whole[:2], 2)).clip(0, np.tile(cut.size, 2)).tolist())
    pixels = np.asarray(cut.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=within, reducing_gap=3.0))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32) / 255
