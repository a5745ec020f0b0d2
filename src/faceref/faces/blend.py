"""Putting a restored face into its photograph without a trace: as a correction of what is there, with its grain.

The model sees a face at its own size. What it changes there is enlarged and added to the photograph, so that what the
photograph holds beyond the model's pixels stays: restoring never softens. But of noise no more stays, and no more is
given back, than a good photograph has.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import cv2
import numpy as np
from PIL import Image

from faceref.faces.align import AlignedFace, Alignment
from faceref.faces.grain import FEWEST, Grain, grain_levels, plausible
from faceref.faces.mask import MASK_SIZE, face_weights, smooth_step
from faceref.faces.noise import TO_RGB, blur, channel_noise, to_ycc
from faceref.faces.tone import Tone
from faceref.pictures.cut import cut_out

Colour = Literal["keep", "allow"]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the photograph
ChangeOn = Callable[[Box], tuple[np.ndarray, np.ndarray, np.ndarray]]  # `_Change.on`
DETAIL = 0.015  # of the square's side: what a blur of this width takes away is fine detail
SHAPE = 0.04  # of the side: blurred by that, a face and its restoration are alike
UNLIKE = (30.0, 60.0)  # levels: where they differ by the first it is doubtful, by the second surely no face
SURE, NOTHING = 0.6, 0.02  # weights of what is surely face, and of what is none
ROWS = 1024  # of the photograph's pixels are worked on at a time
STRIPS = 4  # of so many rows, in which grain is measured
# Of the side: what is coarser covers features of the face. It is no grain but noise, which restoring takes away
COARSEST = 0.01
MOST_GRAIN = 7.0  # levels, of red, green and blue: 31 dB, from which on a face is left alone (`faceref.faces.quality`)


@dataclass(frozen=True, eq=False)
class Blend:
    """A restored face, ready to be put in place of the one that its photograph has.

    parts: of the photograph, where it lies; on: `_Change.on`; grain: of what is corrected, if there was any.
    """

    parts: list[Box]
    on: ChangeOn
    grain: Grain | None
    strength: float

    @classmethod
    def of(
        cls,
        photo: Image.Image,
        restored: Image.Image,
        face: AlignedFace,
        landmarks: np.ndarray,
        *,
        strength: float,
        colour: Colour,
        rng: np.random.Generator,
        head: bool = False,
    ) -> Self:
        """Of an RGB photo. Occluders that the restoration painted over stay.

        restored: square RGB of any size, in the colours of the photograph; face: as it was cut out of the photo at
        `landmarks` [68, 2]. strength: 0 leaves the face as it is, 1 restores it fully. colour: "keep" a print's own
        tone, or "allow" those of the restoration. rng draws the grain. head: hair, ears and neck are restored with the
        face.
        """
        change = _Change.of(photo, restored, face, landmarks, colour, head)
        box = _box(photo.size, face.alignment)
        if box is None or strength == 0:
            return cls([], change.on, None, strength)
        parts, room = in_rows(box), MOST_GRAIN**2 - change.left**2
        on = functools.cache(change.on) if len(parts) == 1 else change.on  # several would take too much memory
        grain = _lost_grain(photo, on, box, COARSEST * face.alignment.side, max(room, 0.0) ** 0.5, rng)
        return cls(parts, on, grain, strength)

    def onto(self, picture: Image.Image) -> None:
        """Correct a picture, the photo or one on which other faces were corrected; what is off the face is kept."""
        for part in self.parts:
            before = np.asarray(picture.crop(part), dtype=np.float32)  # [h, w, 3]
            correction, broad, weights = self.on(part)
            after = before + self.strength * (weights[..., :1] * broad + weights[..., 1:] * (correction - broad))
            if self.grain is not None:
                # where independent grain is weighed by 1 - w, as much of its variance is lost as 1 - (1 - w)^2
                lost = np.sqrt(1 - (1 - self.strength * weights[..., 1:]) ** 2)
                top = self.parts[0][1]
                after += lost * (self.grain.rows(part[1] - top, part[3] - top) @ TO_RGB.T)
            changed = weights[..., :1] > 0
            picture.paste(Image.fromarray(np.where(changed, _to_uint8(after), _to_uint8(before))), part[:2])


def blend_aligned(restored: Image.Image, face: AlignedFace, *, strength: float, colour: Colour) -> Image.Image:
    """The aligned face itself, restored as a `Blend` would: all of the square, at the size of `restored`."""
    before = _seen(face, restored.size)
    return Image.fromarray(_to_uint8(before + strength * _correction(before, restored, face, colour)))


def placed_weights(size: tuple[int, int], landmarks: np.ndarray, alignment: Alignment) -> tuple[Box, np.ndarray] | None:
    """Where a face with `landmarks` [68, 2] is restored in a photo of `size`: a box, and weights float32 [h, w, 2].

    The weights, in [0, 1], are `face_weights` on the photo's pixels. None if the aligned square lies outside.
    """
    box = _box(size, alignment)
    if box is None:
        return None
    weights = warp(face_weights(landmarks, alignment), Alignment(alignment.quad, MASK_SIZE), box)
    return box, weights.clip(0, 1)  # cubic interpolation overshoots


def warp(pixels: np.ndarray, alignment: Alignment, box: Box) -> np.ndarray:
    """Pixels float32 [S, S, C] of an aligned square on the photo's pixels within `box`: [h, w, C].

    `alignment` is the square's, with size S. Antialiased where that shrinks it.
    """
    left, top, right, bottom = box
    samples = max(int(np.ceil(alignment.size / alignment.side)), 1)  # per pixel of the photo, in each direction
    shape = ((right - left) * samples, (bottom - top) * samples)
    # centre of a sample -> photo pixel: (i + 0.5) / samples - 0.5 + corner
    to_photo = np.array([[1, 0, left], [0, 1, top]]) / [[samples, 1, 1], [1, samples, 1]]
    to_photo[:, 2] += 0.5 / samples - 0.5
    forward = alignment.photo_to_crop
    to_crop = np.column_stack([forward[:, :2] @ to_photo[:, :2], forward[:, :2] @ to_photo[:, 2] + forward[:, 2]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    fine = cv2.warpAffine(pixels, to_crop, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)


def in_rows(box: Box) -> list[Box]:
    """The box in parts of at most ROWS rows, from top to bottom."""
    left, top, right, bottom = box
    return [(left, start, right, min(start + ROWS, bottom)) for start in range(top, bottom, ROWS)]


def _box(size: tuple[int, int], alignment: Alignment) -> Box | None:
    """The photo's pixels around the aligned square: left, top, right, bottom; None if it lies outside."""
    left, top = np.clip(np.floor(alignment.quad.min(0)).astype(int), 0, size).tolist()
    right, bottom = np.clip(np.ceil(alignment.quad.max(0)).astype(int) + 1, 0, size).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def _seen(face: AlignedFace, size: tuple[int, int]) -> np.ndarray:
    """The aligned face at another size, float32 [S, S, 3]."""
    return np.asarray(face.image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


def _correction(before: np.ndarray, restored: Image.Image, face: AlignedFace, colour: Colour) -> np.ndarray:
    """What restoring changes at its own size, float32 [S, S, 3]; before: the face at that size."""
    after = np.asarray(restored, dtype=np.float32)
    if colour == "keep":
        inside = cv2.resize(face.mask, restored.size, interpolation=cv2.INTER_NEAREST) > 0
        tone = Tone(before, inside)
        if tone.is_all:
            return tone.colour(after) - tone.colour(before)
    return after - before


@dataclass(frozen=True, eq=False)
class _Change:
    """What restoring changes, on an aligned square and its photograph.

    correction, float32 [S, S, 3]: as the model draws it; broad: without its fine detail; alike, [S, S]: 0 where they
    are too different to be one face; mask, [M, M, 2]: `face_weights`; alignment: of the square in the photograph. Of
    what the photograph holds beyond `seen`, [S, S, 3], which the model could see, so much is `kept`; left: how strong
    noise in that is, its deviation in levels.
    """

    photo: Image.Image
    seen: np.ndarray
    kept: float
    left: float
    correction: np.ndarray
    broad: np.ndarray
    alike: np.ndarray
    mask: np.ndarray
    alignment: Alignment

    @classmethod
    def of(
        cls,
        photo: Image.Image,
        restored: Image.Image,
        face: AlignedFace,
        landmarks: np.ndarray,
        colour: Colour,
        head: bool,
    ) -> Self:
        side, seen, noise = restored.width, _seen(face, restored.size), _noise(photo, landmarks)
        kept = _part_of(MOST_GRAIN, noise)
        beyond = 1 - min(side / face.alignment.side, 1) ** 2  # share of a white noise's variance
        correction = _correction(seen, restored, face, colour)
        unlike = np.abs(blur(correction, SHAPE * side)).max(-1)
        alike = 1 - smooth_step((unlike - UNLIKE[0]) / (UNLIKE[1] - UNLIKE[0]))
        square, mask = Alignment(face.alignment.quad, side), face_weights(landmarks, face.alignment, head=head)
        left = kept * noise * beyond**0.5
        return cls(photo, seen, kept, left, correction, blur(correction, DETAIL * side), alike, mask, square)

    def on(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correction and its broad part [h, w, 3], and weights [h, w, 2] in [0, 1], on the photo's pixels within it."""
        pictures = (warp(pixels, self.alignment, box) for pixels in (self.correction, self.broad, self.alike))
        correction, broad, alike = pictures
        weights = warp(self.mask, Alignment(self.alignment.quad, MASK_SIZE), box)
        if self.kept < 1:
            beyond = np.asarray(self.photo.crop(box), dtype=np.float32) - warp(self.seen, self.alignment, box)
            correction = correction - (1 - self.kept) * beyond
        return correction, broad, (weights * alike[..., None]).clip(0, 1)  # cubic interpolation overshoots


def _lost_grain(
    photo: Image.Image, on: ChangeOn, box: Box, coarsest: float, most: float, rng: np.random.Generator
) -> Grain | None:
    """The like of the grain that correcting the photograph within a box takes away; None if there is none.

    In each octave it is as strong as it was around the face, and no stronger than it was in the face itself or in what
    the correction changed: hair and cloth are no grain, nor is a face's own texture, nor what is coarser than so many
    pixels. Of large faces it is measured in a few strips. most: of its deviation in red, green and blue, in levels;
    beyond, it is noise, as bad as what was restored.
    """
    parts = in_rows(box)
    measured = [_grain_levels(photo, on, part) for part in parts[:: -(-len(parts) // STRIPS)]]
    known = [levels for levels in measured if levels is not None]
    if not known or (box[2] - box[0]) * (box[3] - box[1]) < FEWEST:
        return None
    levels = plausible(np.ma.median(np.ma.masked_invalid(known), axis=0).filled(np.nan), coarsest)
    if not levels.any():
        return None
    grain = Grain(levels, box[3] - box[1], box[2] - box[0], rng)
    return grain.times(_part_of(most, np.sqrt((TO_RGB**2 @ grain.deviation**2).mean())))


def _part_of(most: float, deviation: float) -> float:
    """How much of noise of a deviation is no more than `most`."""
    return min(1.0, most / max(deviation, 1e-6))


def _noise(photo: Image.Image, landmarks: np.ndarray) -> float:
    """The deviation of the finest noise in the landmarks' box, of red, green and blue; 0 if it is not in the photo."""
    box = np.concatenate([landmarks.min(0), landmarks.max(0) + 1]).clip(0, np.tile(photo.size, 2)).astype(int)
    if (box[:2] == box[2:]).any():
        return 0.0
    pixels = np.asarray(cut_out(photo, tuple(box.tolist())), dtype=np.float32)
    everywhere = np.ones(pixels.shape[:2], dtype=bool)
    return float(np.nan_to_num(channel_noise(pixels, everywhere)))


def _grain_levels(photo: Image.Image, on: ChangeOn, part: Box) -> np.ndarray | None:
    """Levels [octaves, 3] in luminance and colour of what is lost in a part; None if no face is in it."""
    before = np.asarray(photo.crop(part), dtype=np.float32)
    correction, _, weights = on(part)
    sure, around = weights[..., 1] > SURE, weights[..., 0] < NOTHING
    if not sure.any():
        return None
    luminance = before.mean(-1)
    low, high = np.quantile(luminance[sure], (0.05, 0.95))
    around &= (luminance > low - 20) & (luminance < high + 20)  # black and white hold no grain
    old, changed = (to_ycc(pixels) for pixels in (before, correction))
    return np.fmin.reduce([*grain_levels(old, around, sure), *grain_levels(changed, sure)])


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels).clip(0, 255).astype(np.uint8)
