"""How good a face is already, judged from its pixels alone, and how much of a restoration it therefore needs."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations_with_replacement

import cv2
import numpy as np
from PIL import Image

from faceref.errors import PhotoError
from faceref.faces.align import AlignedFace, Alignment
from faceref.faces.noise import bands, blockiness, wavelet_noise

# The middle of an FFHQ-aligned square, from brow to chin, as shares of its side: what is surely face
FACE_CENTRE, FACE_RADII = (0.5, 0.56), (0.30, 0.36)
JUDGED_AT, FINEST = 128, 256  # pixels: the sizes that the estimate was learnt at, the first for recognisers
WORST, BEST = 18.0, 42.0  # dB: an estimated PSNR of these is a score of 0 and 1

# Scores up to which a face is restored fully, and from which on it is left alone: benchmarks/strength.py --choose
RESTORED, ALONE = 0.35, 0.55


@dataclass(frozen=True)
class FaceQuality:
    """What a face's own pixels say about it.

    psnr: what a truth that nobody has would say of it, estimated, dB, from WORST to BEST.
    """

    psnr: float

    @property
    def score(self) -> float:
        """In [0, 1], 0 for a face that is hardly one and 1 for one that cannot be told from a good photograph."""
        return (self.psnr - WORST) / (BEST - WORST)


@dataclass(frozen=True, eq=False)
class QualityHead:
    """A quadratic polynomial of the standardised features; `benchmarks/fit_quality.py` fits it."""

    mean: np.ndarray  # [F]
    scale: np.ndarray  # [F]
    weights: np.ndarray  # [terms of `polynomial`]

    @classmethod
    @cache
    def shipped(cls) -> "QualityHead":
        """The one in the package, read once."""
        content = json.loads((resources.files("faceref") / "weights" / "face_quality.json").read_text())
        return cls(*(np.array(content[key]) for key in ("mean", "scale", "weights")))

    def psnr(self, features: np.ndarray) -> float:
        """The estimated PSNR in dB of a face with these features [F]."""
        standard = np.clip((features - self.mean) / self.scale, -4, 4)  # a square must not run away with the unheard-of
        return float(polynomial(standard) @ self.weights)


def quality(face: AlignedFace, size: int | None = None) -> FaceQuality:
    """Judge an aligned face at `size` pixels, by default its own: `size_in_photo`, or JUDGED_AT for recognisers.

    The estimate is of the PSNR that the face would have against its truth, were that known: learnt from training faces
    degraded as Eq. 4 of ReF-LDM does, and no more than its noise alone leaves, of which those have little. Raises
    PhotoError if none of it lies within the photograph.
    """
    if size is not None and size != face.image.width:
        image = face.image.resize((size, size), Image.Resampling.LANCZOS)
        mask = cv2.resize(face.mask, (size, size), interpolation=cv2.INTER_NEAREST)
        face = AlignedFace(image, mask, Alignment(face.alignment.quad, size))
    pixels, where = face_pixels(face)
    estimate = QualityHead.shipped().psnr(quality_features(pixels, where))
    channels = np.moveaxis(np.asarray(face.image, dtype=np.float32), -1, 0)
    noise = np.mean([wavelet_noise(channel, where) ** 2 for channel in channels])
    by_noise = 10 * np.log10(255**2 / max(noise, 0.01))
    return FaceQuality(float(np.clip(min(estimate, by_noise), WORST, BEST)))


def size_in_photo(face: AlignedFace, enlargement: int = 1) -> int:
    """Pixels at which to judge what a face of a photograph lacks: its own there, as far as the estimate was learnt.

    enlargement: how many times larger the photograph is going to be.
    """
    return int(np.clip(round(face.alignment.side * enlargement), JUDGED_AT, FINEST))


def strength(judged: FaceQuality) -> float:
    """How much of a restoration a face needs, in [0, 1]: all of it if it is bad, none if it is good already.

    judged: at its `size_in_photo`.
    """
    return float(np.clip((ALONE - judged.score) / (ALONE - RESTORED), 0, 1))


def face_pixels(face: AlignedFace) -> tuple[np.ndarray, np.ndarray]:
    """Luminance float32 [S, S] of an aligned face, and bool [S, S]: what is face and in the photograph."""
    luminance = np.asarray(face.image.convert("L"), dtype=np.float32)
    size = luminance.shape[0]
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    ellipse = np.hypot((x - FACE_CENTRE[0]) / FACE_RADII[0], (y - FACE_CENTRE[1]) / FACE_RADII[1]) < 1
    where = ellipse & (np.asarray(face.mask) > 0)
    if where.sum() < 64:
        raise PhotoError("lies outside of the photograph", subject="the face", hint="choose another face")
    return luminance, where


def quality_features(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What the head looks at, float64 [F]: luminance [S, S] in 0..255, of which `where` [S, S] counts."""
    octaves = [np.abs(band[where]) for band in bands(pixels)]
    spread = [_log(np.sqrt(np.mean(octave**2))) for octave in octaves]
    typical = [_log(np.median(octave)) for octave in octaves[:3]]  # noise is everywhere, edges are not
    tails = [_log(np.quantile(octave, 0.95) / (np.median(octave) + 0.05)) for octave in octaves[:2]]
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half_where = where[::2, ::2][: half.shape[0], : half.shape[1]]
    noise = [_log(wavelet_noise(pixels, where)), _log(wavelet_noise(half, half_where))]
    across, down = (np.abs(np.diff(pixels, n=2, axis=axis)) for axis in (1, 0))
    across, down = across[where[:, 1:-1]], down[where[1:-1]]
    direction = abs(np.log((across.mean() + 0.05) / (down.mean() + 0.05)))
    still = [(across < 0.5).mean(), (down < 0.5).mean()]  # where enlarging drew straight lines between pixels
    contrast = _log(pixels[where].std())
    return np.array(
        [*spread, *typical, *tails, *noise, direction, *sorted(still), contrast, _log(blockiness(pixels, where))]
    )


def polynomial(features: np.ndarray) -> np.ndarray:
    """1, the features [..., F] and the products of any two of them: [..., 1 + F + F (F + 1) / 2]."""
    pairs = np.array(list(combinations_with_replacement(range(features.shape[-1]), 2))).T  # [2, F (F + 1) / 2]
    ones = np.ones_like(features[..., :1])
    return np.concatenate([ones, features, features[..., pairs[0]] * features[..., pairs[1]]], axis=-1)


def _log(value: float) -> float:
    return float(np.log(value + 0.05))
