"""Putting a restored face back where it came from, with the photograph's own colours."""

import cv2
import numpy as np
from PIL import Image

from faceref.faces.align import Alignment

# The face in an FFHQ-aligned square, as shares of its side: an ellipse from hair line to chin and ear to ear, which
# fades out over the hair and stays off the square's rim, where restored hair would meet unrestored hair.
CENTRE = (0.5, 0.53)
RADII = (0.48, 0.46)
OPAQUE = 0.7  # of the radii; from there on the face fades into the photo


def paste(photo: Image.Image, face: Image.Image, alignment: Alignment) -> Image.Image:
    """A copy of an RGB photo with a restored aligned face in its place; pixels off the face keep their bytes.

    `face`: square RGB of any size, aligned by `alignment`. Where `alignment.side` is above that size the pasted face
    has less detail than the photo has room for; the caller may want to say so.
    """
    placed = Alignment(alignment.quad, face.width)
    left, top = np.clip(np.floor(placed.quad.min(0)).astype(int), 0, photo.size).tolist()
    right, bottom = np.clip(np.ceil(placed.quad.max(0)).astype(int) + 1, 0, photo.size).tolist()
    if left >= right or top >= bottom:
        return photo.copy()
    x, y = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    in_crop = placed.to_crop(np.stack([x, y], axis=-1).reshape(-1, 2))  # [h * w, 2]
    weight = _face_weight((in_crop + 0.5) / face.width).reshape(*x.shape, 1)  # [h, w, 1]
    box = (left, top, right, bottom)
    old = np.asarray(photo.crop(box), dtype=np.float32)  # [h, w, 3]
    new = _warped(face, placed, box).astype(np.float32)
    pasted = photo.copy()
    pasted.paste(Image.fromarray(np.rint(old + weight * (new - old)).astype(np.uint8)), (left, top))
    return pasted


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
    fade = np.clip((1 - radius) / (1 - OPAQUE), 0, 1)
    return (fade * fade * (3 - 2 * fade)).astype(np.float32)


def _warped(face: Image.Image, alignment: Alignment, box: tuple[int, int, int, int]) -> np.ndarray:
    """The face as uint8 [h, w, 3] on the photo's pixels within `box`; antialiased where that shrinks it."""
    left, top, right, bottom = box
    samples = max(int(np.ceil(alignment.size / alignment.side)), 1)  # per pixel of the photo, in each direction
    shape = ((right - left) * samples, (bottom - top) * samples)
    # centre of a sample -> photo pixel: (i + 0.5) / samples - 0.5 + corner
    to_photo = np.array([[1, 0, left], [0, 1, top]]) / [[samples, 1, 1], [1, samples, 1]]
    to_photo[:, 2] += 0.5 / samples - 0.5
    forward = alignment.photo_to_crop
    to_crop = np.column_stack([forward[:, :2] @ to_photo[:, :2], forward[:, :2] @ to_photo[:, 2] + forward[:, 2]])
    fine = cv2.warpAffine(
        np.asarray(face),
        to_crop,
        shape,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
