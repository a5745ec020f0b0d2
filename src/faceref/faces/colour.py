"""A restored face given the colours that it has in its photograph."""

import numpy as np
from PIL import Image

from faceref.faces.mask import smooth_step

# The face in an FFHQ-aligned square, as shares of its side: an ellipse from hair line to chin and ear to ear, which
# fades out over the hair and stays off the square's rim, where restored hair would meet unrestored hair.
CENTRE = (0.5, 0.53)
RADII = (0.48, 0.46)
OPAQUE = 0.7  # of the radii; from there on the face fades into the photo


def match_color(face: Image.Image, degraded: Image.Image, mask: np.ndarray) -> Image.Image:
    """Give a restored aligned face the mean colour [3] that the degraded one has over the face.

    Both RGB of one size; mask uint8 [size, size]: 0 where the degraded one lay outside the photo. The remedy that the
    authors of ReF-LDM name for colours leaking in from the references.
    """
    x, y = np.meshgrid(np.arange(face.width), np.arange(face.height))
    where = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / face.width  # [size * size, 2]
    weight = _face_weight(where) * (np.asarray(mask).reshape(-1) > 0)
    if not weight.any():
        return face.copy()
    pixels, target = (np.asarray(image, dtype=np.float32).reshape(-1, 3) for image in (face, degraded))
    shift = np.average(target, axis=0, weights=weight) - np.average(pixels, axis=0, weights=weight)
    matched = np.clip(np.rint(pixels + shift), 0, 255).astype(np.uint8)
    return Image.fromarray(matched.reshape(face.height, face.width, 3))


def _face_weight(points: np.ndarray) -> np.ndarray:
    """float32 [N] of points [N, 2] in the unit square: 1 on the face, falling smoothly to 0 at the ellipse's rim."""
    radius = np.hypot(*((points - CENTRE) / RADII).T)
    return smooth_step((1 - radius) / (1 - OPAQUE)).astype(np.float32)
