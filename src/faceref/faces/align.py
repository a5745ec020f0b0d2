"""Cutting out an upright, aligned face by FFHQ's rule, and the transform that leads back into the photograph.

After FFHQ's alignment script (Karras et al. 2019, from Karras et al. 2018, appendix C), as ReF-LDM's code uses it.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from PIL import Image

SUPERSAMPLING = 4  # FFHQ's script samples at 4096 px whatever the output; this many samples a pixel do the same


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where an aligned face of `size` x `size` pixels lies in a photograph.

    `quad` float64 [4, 2]: the square's corners (x, y) in photo pixels: top left, bottom left, bottom right, top right.
    Pixel coordinates are those of landmarks: the centre of the first pixel is (0, 0), in the photo and in the crop.
    """

    quad: np.ndarray
    size: int

    @property
    def side(self) -> float:
        """Side of the square in photo pixels: above `size`, the crop is smaller than the face in the photo."""
        return float(np.hypot(*(self.quad[3] - self.quad[0])))

    @property
    def crop_to_photo(self) -> np.ndarray:
        """Affine matrix float64 [2, 3] from pixels of the crop to pixels of the photo."""
        axes = np.stack([self.quad[3] - self.quad[0], self.quad[1] - self.quad[0]], axis=1) / self.size  # [2, 2]
        return np.column_stack([axes, self.quad[0] + axes @ (0.5, 0.5)])

    @property
    def photo_to_crop(self) -> np.ndarray:
        """Affine matrix float64 [2, 3] from pixels of the photo to pixels of the crop."""
        return cv2.invertAffineTransform(self.crop_to_photo)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 2] of the photo in crop pixels."""
        return _apply(self.photo_to_crop, points)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 2] of the crop in photo pixels."""
        return _apply(self.crop_to_photo, points)


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """An aligned face: RGB picture, mask uint8 [size, size] (255 where the pixel was inside the photo), its place."""

    image: Image.Image
    mask: np.ndarray
    alignment: Alignment

    @classmethod
    def whole(cls, picture: Image.Image, mask: np.ndarray | None = None) -> Self:
        """A square RGB picture that is an aligned face by itself; without a mask all of it was in the photograph."""
        side = picture.width
        corners = np.array([(0, 0), (0, side), (side, side), (side, 0)]) - 0.5
        everywhere = np.full((side, side), 255, np.uint8)
        return cls(picture, everywhere if mask is None else mask, Alignment(corners, side))


def ffhq_quad(landmarks: np.ndarray) -> np.ndarray:
    """Corners float64 [4, 2] of FFHQ's oriented square, from landmarks [68, 2]."""
    landmarks = np.asarray(landmarks, dtype=np.float64)
    left_eye, right_eye = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    eyes = (left_eye + right_eye) / 2
    eye_to_eye = right_eye - left_eye
    eye_to_mouth = (landmarks[48] + landmarks[54]) / 2 - eyes
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / np.hypot(*x)
    y = x[::-1] * (-1, 1)
    centre = eyes + eye_to_mouth * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def align(image: Image.Image, landmarks: np.ndarray, size: int) -> AlignedFace:
    """The face of an RGB photo with `landmarks` [68, 2] as a `size` x `size` picture.

    What lies outside of the photo is filled by FFHQ's blurred reflection and is 0 in the mask.
    """
    alignment = Alignment(ffhq_quad(landmarks), size)
    surroundings, to_photo = _surroundings(image, alignment)
    samples = size * _samples_a_pixel(alignment)
    sample_to_photo = Alignment(alignment.quad, samples).crop_to_photo
    fine = cv2.warpAffine(
        surroundings,
        _compose(cv2.invertAffineTransform(to_photo), sample_to_photo),
        (samples, samples),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    aligned = Image.fromarray(fine).resize((size, size), Image.Resampling.LANCZOS)  # of one a pixel a copy
    return AlignedFace(aligned, _inside(image, alignment), alignment)


def _samples_a_pixel(alignment: Alignment) -> int:
    """How many, in each direction, see all that the photograph holds: fewer than in FFHQ's script where it is enlarged.

    Where it is by two or more, one; the crop differs from that of two by little more than rounding (54 dB).
    """
    if alignment.side > alignment.size:
        return SUPERSAMPLING
    return SUPERSAMPLING // 2 if 2 * alignment.side > alignment.size else 1


def _surroundings(image: Image.Image, alignment: Alignment) -> tuple[np.ndarray, np.ndarray]:
    """The part of the photo that holds the square, shrunk if large and padded if it ends there.

    Returns RGB uint8 [h, w, 3] and the affine matrix [2, 3] from its pixels to the photo's.
    """
    quad, side = alignment.quad, alignment.side
    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int) - border, np.ceil(quad.max(0)).astype(int) + border
    first, last = np.maximum(low, 0), np.minimum(high, image.size)  # [2] x, y
    # Lanczos once to at least twice the output's resolution: the samples that follow are then dense enough
    shrink = max(int(side / alignment.size / 2), 1)
    shape = np.maximum(np.rint((last - first) / shrink), 1).astype(int)
    part = image.resize((int(shape[0]), int(shape[1])), Image.Resampling.LANCZOS, box=(*first.tolist(), *last.tolist()))
    scale = (last - first) / shape
    pixels = np.asarray(part)

    before, after = np.ceil((first - low) / scale).astype(int), np.ceil((high - last) / scale).astype(int)
    side, border = side / scale.mean(), border / scale.mean()
    if max(before.max(), after.max()) > border - 4:
        before, after = np.maximum(before, round(side * 0.3)), np.maximum(after, round(side * 0.3))
        pixels = _padded(pixels, before, after, blur=side * 0.02)
    else:
        before = np.zeros(2)
    offset = first + (0.5 - before) * scale - 0.5
    return pixels, np.column_stack([np.diag(scale), offset])


def _padded(pixels: np.ndarray, before: np.ndarray, after: np.ndarray, blur: float) -> np.ndarray:
    """Reflect [h, w, 3] beyond its edges by (x, y) pixels; blurred there, and fading to the median colour far out."""
    (left, top), (right, bottom) = before, after
    image = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect").astype(np.float32)
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    # 1 at the rim of the padding, 0 where the photo begins, negative within it
    outside = np.maximum(
        1 - np.minimum(x / left, (width - 1 - x) / right), 1 - np.minimum(y / top, (height - 1 - y) / bottom)
    ).astype(np.float32)[..., None]
    image += (cv2.GaussianBlur(image, (0, 0), blur) - image) * np.clip(outside * 3 + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(outside, 0, 1)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _inside(image: Image.Image, alignment: Alignment) -> np.ndarray:
    """uint8 [size, size]: 255 where the centre of the crop's pixel lies on the photo, 0 elsewhere."""
    size, last = alignment.size, np.array(image.size) - 0.5
    if ((alignment.quad >= -0.5) & (alignment.quad <= last)).all():  # then all of the square does
        return np.full((size, size), 255, np.uint8)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    points = alignment.to_photo(np.stack([x, y], axis=-1).reshape(-1, 2))  # [size * size, 2]
    inside = ((points >= -0.5) & (points <= last)).all(axis=1)
    return (inside.reshape(size, size) * 255).astype(np.uint8)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The affine map [2, 3] that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], _apply(outer, inner[:, 2])])
