"""Where the face is in an aligned square: a soft mask along jaw, temples and hair line, or around the whole head."""

import cv2
import numpy as np

from faceref.faces.align import Alignment

MASK_SIZE = 256  # a mask is smooth: finer than this nobody needs it
# As shares of the square's side. Beyond the contour, so that a jaw's own edge is restored; how far the mask fades
# inwards from there, and how far the finest detail does: a crisp face must not end at a soft neck.
MARGIN, FEATHER, DETAIL_FEATHER = 0.02, 0.07, 0.14
SHORTEST_FEATHER = 4.0  # pixels of the photograph
FOREHEAD = 0.85  # of the distance from nose to brows, which is also that from brows to hair line
ARC = np.linspace(0, np.pi, 25)
# The ellipse around hair, ears and neck, and how far it fades inwards, as shares of the square's side
HEAD_CENTRE, HEAD_RADII, HEAD_FEATHER = (0.5, 0.48), (0.48, 0.52), 0.16


def face_contour(landmarks: np.ndarray) -> np.ndarray:
    """The face's outline [N, 2]: the 17 points of the jaw of landmarks [68, 2], and an arc over the forehead.

    The forehead has no landmarks; a face's thirds from chin to nose, brows and hair line are about equal.
    """
    landmarks = np.asarray(landmarks, dtype=np.float64)
    jaw, brows, nose = landmarks[:17], landmarks[17:27].mean(0), landmarks[33]
    temples, half_width = (jaw[0] + jaw[16]) / 2, (jaw[16] - jaw[0]) / 2
    top = brows + FOREHEAD * (brows - nose)
    # a superellipse: a forehead is fuller than an ellipse
    across, up = (np.sign(wave) * np.abs(wave) ** 0.8 for wave in (np.cos(ARC), np.sin(ARC)))
    return np.concatenate([jaw, temples + across[:, None] * half_width + up[:, None] * (top - temples)])


def face_weights(landmarks: np.ndarray, alignment: Alignment, *, head: bool = False) -> np.ndarray:
    """How much of each pixel of the aligned square is restored: float32 [MASK_SIZE, MASK_SIZE, 2] in [0, 1].

    landmarks [68, 2] in photo pixels; head: hair, ears and neck, too, and not the face alone. The first channel is for
    broad shapes and colours, the second for fine detail, which fades earlier in the face. Both are 0 at the square's
    rim. The smaller the face, the softer the edge.
    """
    placed = Alignment(alignment.quad, MASK_SIZE)
    inside = np.zeros((MASK_SIZE, MASK_SIZE), dtype=np.uint8)
    contour = np.rint(placed.to_crop(face_contour(landmarks))).astype(np.int32)
    cv2.fillPoly(inside, [contour], 1)
    depth = _distance(inside) - _distance(1 - inside)  # positive within the face
    depth = cv2.GaussianBlur(depth, (0, 0), MASK_SIZE * 0.01) / MASK_SIZE + MARGIN
    shortest = SHORTEST_FEATHER / alignment.side
    edge = np.arange(MASK_SIZE) + 0.5
    edge = np.minimum(edge, MASK_SIZE - edge) / MASK_SIZE
    rim = smooth_step(np.minimum(edge[:, None], edge[None]) / max(FEATHER, shortest))
    weights = np.stack([smooth_step(depth / max(width, shortest)) for width in (FEATHER, DETAIL_FEATHER)], axis=-1)
    if head:
        weights = np.maximum(weights, _head_weights(max(HEAD_FEATHER, shortest))[..., None])
    return (weights * rim[..., None]).astype(np.float32)


def _head_weights(feather: float) -> np.ndarray:
    """An ellipse around the head, [MASK_SIZE, MASK_SIZE]: 1 inside, 0 outside, fading over `feather` of the side."""
    y, x = (np.mgrid[:MASK_SIZE, :MASK_SIZE] + 0.5) / MASK_SIZE
    away = np.hypot((x - HEAD_CENTRE[0]) / HEAD_RADII[0], (y - HEAD_CENTRE[1]) / HEAD_RADII[1])
    return smooth_step((1 - away) * min(HEAD_RADII) / feather)


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 up to x = 0, 1 from x = 1 on, and smooth in between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from each 1 to the next 0."""
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)
