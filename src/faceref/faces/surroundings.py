"""What is around a restored face, made sharper by as much as restoring made the face.

A blurred photograph is blurred around its faces, too: hair, ears, collars. How much each band of detail is to be raised
there is measured on the face: by the gains that bring it, as it was seen, closest to what was drawn. These least
squares are a Wiener filter that nobody has to tell how blurred and how noisy the photograph is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import cv2
import numpy as np
from PIL import Image

from faceref.faces.align import AlignedFace, Alignment, ffhq_quad
from faceref.faces.blend import Box, in_rows, warp
from faceref.faces.mask import MASK_SIZE, face_weights, smooth_step
from faceref.faces.noise import BAND_SIGMAS, bands, blur

SIZE = 256  # pixels of an aligned face, in which lengths are given here
EDGES = BAND_SIGMAS  # widths of the blurs between which the bands lie; what is coarser is not blurred
FAINT = 0.3  # square levels, added to the power of each band: of detail so faint the gain is not known
ANYWAY, MOST = 0.3, 3.0  # the gain that restoring brings to a face that is not blurred, and the largest
SURE, FEWEST = 0.8, 200  # weight of what is drawn anew, and how many pixels of it say enough
NOISE = 3.0  # levels: detail so faint may be noise, and is raised by half as much
OVERSHOOT = 1.0  # nothing becomes lighter or darker than what is so near, so that edges get no halo
# Sides of the square from its centre: as sharp as the face up to the first, as it was from the second on
REACH = (0.5, 1.2)


@dataclass(frozen=True, eq=False)
class Outline:
    """A face's landmarks, float32 [68, 2], in its photograph; head: whether hair, ears and neck belong to it."""

    landmarks: np.ndarray
    head: bool = False

    @property
    def alignment(self) -> Alignment:
        return Alignment(ffhq_quad(self.landmarks), SIZE)

    @cached_property
    def weights(self) -> np.ndarray:
        """Of its fine detail, on the aligned square: float32 [MASK_SIZE, MASK_SIZE] in [0, 1]."""
        return face_weights(self.landmarks, self.alignment, head=self.head)[..., 1]


@dataclass(frozen=True, eq=False)
class Sharpened:
    """A face that was restored; gains: of each band of its detail, float64 [bands] in [0, MOST]."""

    outline: Outline
    gains: np.ndarray

    @classmethod
    def of(cls, outline: Outline, seen: AlignedFace, drawn: Image.Image, strength: float) -> Self:
        """seen: the aligned face as it is in the photograph; drawn: what was made of it, RGB of any size, of which so
        much is shown."""
        where = _at_size(outline.weights) > SURE
        where &= _at_size(seen.mask) > 0
        before, after = (
            np.asarray(one.convert("L").resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32)
            for one in (seen.image, drawn)
        )
        return cls(outline, detail_gains(before, before + strength * (after - before), where))


def detail_gains(seen: np.ndarray, drawn: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The gains float64 [bands] by which a face's detail is to be raised, so that it comes closest to what was drawn.

    seen, drawn: luminance float32 [SIZE, SIZE] in levels; where: bool, what counts. 0 where too little does.
    """
    if where.sum() < FEWEST:
        return np.zeros(len(EDGES) - 1)
    detail = np.stack([band[where] for band in bands(seen, EDGES)], axis=1, dtype=np.float64)  # [N, bands]
    power = detail.T @ detail / len(detail) + FAINT * np.eye(detail.shape[1])
    gains = np.linalg.solve(power, detail.T @ (drawn - seen)[where] / len(detail))
    gains[0] = 0  # what is finest is noise, or there is none
    return (gains - ANYWAY).clip(0, MOST)


def sharpen_around(photo: Image.Image, restored: Sequence[Sharpened], kept: Sequence[Outline]) -> Image.Image:
    """An RGB photograph, sharper around the restored faces; these themselves and what is to be kept stay as they are.

    Between two restored faces what is nearer to one becomes the more as sharp as around that.
    """
    sharper = photo.copy()
    spared = [*(one.outline for one in restored), *kept]
    for one in restored:
        part = _Part.around(one.outline.alignment, photo.size)
        if part is None or not one.gains.any():
            continue
        near, nears = part.near(one.outline), sum(part.near(other.outline) for other in restored)
        free = 1 - np.max([part.weights(outline) for outline in spared if part.shows(outline)], axis=0)
        change = free * near**2 / np.maximum(nears, 1e-6) * raised(part.luminance(photo), one.gains, part.pixel)
        for box, rows in part.enlarged(change):
            before = np.asarray(sharper.crop(box), dtype=np.float32)
            sharper.paste(Image.fromarray(np.rint(before + rows[..., None]).clip(0, 255).astype(np.uint8)), box[:2])
    return sharper


def raised(luminance: np.ndarray, gains: np.ndarray, pixel: float) -> np.ndarray:
    """What raising its detail by gains [bands] adds to a luminance float32 [h, w] in levels.

    pixel: how many pixels of the picture one of an aligned face is.
    """
    added = np.zeros_like(luminance)
    edges = [pixel * edge for edge in EDGES]
    for gain, band, edge in zip(gains.tolist(), bands(luminance, tuple(edges)), edges[1:], strict=True):
        power = blur(band * band, 2 * edge)
        added += gain * band * power / (power + NOISE**2)
    near = np.ones([2 * round(max(OVERSHOOT * pixel, 1)) + 1] * 2, np.uint8)
    return (luminance + added).clip(cv2.erode(luminance, near), cv2.dilate(luminance, near)) - luminance


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a photograph: a box of it, looked at in `size` (w, h) pixels, fewer than it has if the face is large.

    pixel: how many of these one of the aligned face is.
    """

    box: Box
    size: tuple[int, int]
    pixel: float

    @classmethod
    def around(cls, alignment: Alignment, photo: tuple[int, int]) -> Self | None:
        """As far as what is around a face is sharpened; None if that is outside of a photo of that size."""
        centre, reach = alignment.quad.mean(0), REACH[1] * alignment.side
        left, top = np.floor(centre - reach).clip(0, photo).astype(int).tolist()
        right, bottom = np.ceil(centre + reach).clip(0, photo).astype(int).tolist()
        if left >= right or top >= bottom:
            return None
        scale = min(SIZE / alignment.side, 1.0)
        width, height = (max(round(scale * length), 1) for length in (right - left, bottom - top))
        return cls((left, top, right, bottom), (width, height), scale * alignment.side / SIZE)

    def luminance(self, photo: Image.Image) -> np.ndarray:
        """float32 [h, w], in levels."""
        seen = photo.resize(self.size, Image.Resampling.BICUBIC, box=self.box)
        return np.asarray(seen.convert("L"), dtype=np.float32)

    def shows(self, outline: Outline) -> bool:
        """Whether any of a face's square may lie in it."""
        corners = outline.alignment.quad
        return bool((corners.max(0) >= self.box[:2]).all() and (corners.min(0) <= self.box[2:]).all())

    def weights(self, outline: Outline) -> np.ndarray:
        """How much of each pixel a face is: float32 [h, w] in [0, 1]."""
        placed = Alignment(self._placed(outline).quad, MASK_SIZE)
        return warp(outline.weights[..., None], placed, (0, 0, *self.size)).reshape(self.size[::-1]).clip(0, 1)

    def near(self, outline: Outline) -> np.ndarray:
        """How near each pixel is to a face: float32 [h, w] in [0, 1]."""
        x, y = np.meshgrid(*(np.arange(length) for length in self.size))
        points = self._placed(outline).to_crop(np.stack([x, y], axis=-1).reshape(-1, 2))  # [h * w, 2]
        away = np.hypot(*(points + 0.5 - SIZE / 2).T).reshape(x.shape) / SIZE
        return smooth_step((REACH[1] - away) / (REACH[1] - REACH[0])).astype(np.float32)

    def enlarged(self, change: np.ndarray) -> Iterator[tuple[Box, np.ndarray]]:
        """What is added to it on the photograph's own pixels, some rows at a time: boxes, and float32 [rows, w]."""
        scale = self._scale
        for left, top, right, bottom in in_rows(self.box):
            first = np.array([0.5, top - self.box[1] + 0.5]) * scale - 0.5  # pixel of the rows, in those of `change`
            matrix = np.column_stack([np.diag(scale), first])
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            shape = (right - left, bottom - top)
            rows = cv2.warpAffine(change, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            yield (left, top, right, bottom), rows

    @property
    def _scale(self) -> np.ndarray:
        """Of its pixels to those of the photograph, (x, y)."""
        return np.array(self.size) / (self.box[2] - self.box[0], self.box[3] - self.box[1])

    def _placed(self, outline: Outline) -> Alignment:
        """Where a face lies in these pixels."""
        return Alignment((outline.alignment.quad + 0.5 - self.box[:2]) * self._scale - 0.5, SIZE)


def _at_size(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
