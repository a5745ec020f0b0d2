"""How sharp an aligned face is, and which of its pixels are the face."""

import cv2
import numpy as np

INDEX_SIZE = 128  # pixels at which photographs of different sizes are compared


def face_region(landmarks: np.ndarray, size: int) -> np.ndarray:
    """uint8 [size, size], 1 within the convex hull of landmarks [68, 2]: brows to chin, without hair and ears."""
    region = np.zeros((size, size), np.uint8)
    hull = cv2.convexHull(landmarks.round().astype(np.int32))
    cv2.fillConvexPoly(region, hull, 1)
    return region


def sharpness(picture: np.ndarray, region: np.ndarray, size: int = INDEX_SIZE) -> float:
    """Variance of the Laplacian of the grey values (0..255) in `region`, uint8 [S, S], of a picture uint8 [S, S, 3].

    size: pixels of the side at which it is measured, so that faces of different sizes can be compared.

    Noise and artefacts count as well: a large value is not a good one.
    """
    kernel = cv2.INTER_AREA if size < len(picture) else cv2.INTER_CUBIC
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (size, size), interpolation=kernel)
    inside = cv2.resize(region, (size, size), interpolation=cv2.INTER_NEAREST) > 0
    return float(cv2.Laplacian(grey.astype(np.float64), cv2.CV_64F)[inside].var())
