"""Whether a detector finds faces of a known width in photographs of any size, and how long it takes on one core.

python make_small_faces.py raw-people faces   (ten faces in each picture, boxes.json)
OMP_NUM_THREADS=1 python benchmarks/find_faces.py faces --detector mtcnn
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from faceref.faces.detect import DETECTORS, load_detector

FOUND = 0.25  # intersection over union; detectors' boxes differ in how much of the forehead they take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, help="pictures, and boxes.json: file -> [left, top, right, bottom] of each"
    )
    parser.add_argument("--detector", choices=DETECTORS, default="mtcnn")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    detector = load_detector(arguments.detector)
    print("picture                 found  others  CPU seconds")
    for name, truth in json.loads((arguments.folder / "boxes.json").read_text()).items():
        image = Image.open(arguments.folder / name).convert("RGB")
        start = time.process_time()
        boxes = np.array([face.box for face in detector.detect(image)]).reshape(-1, 4)
        seconds = time.process_time() - start
        overlaps = intersection_over_union(np.array(truth, dtype=float), boxes) > FOUND
        print(f"{name:22} {overlaps.any(1).sum():3}/{len(truth)} {(~overlaps.any(0)).sum():6} {seconds:10.2f}")


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[N, M] of boxes [N, 4] and [M, 4]."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b))
    return shared / (area_a[:, None] + area_b - shared)


if __name__ == "__main__":
    main()
