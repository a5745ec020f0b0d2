"""How good a face is already, judged from its pixels alone, and how much of a restoration it therefore needs."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from faceref.errors import PhotoError
from faceref.faces.align import AlignedFace, Alignment
from faceref.faces.grain import FLAT, WINDOW
from faceref.faces.noise import bands, blockiness, channel_noise, to_ycc, wavelet_noise

# The middle of an FFHQ-aligned square, from brow to chin, as shares of its side: what is surely face
FACE_CENTRE, FACE_RADII = (0.5, 0.56), (0.30, 0.36)
# Pixels: between which faces are judged; JUDGED_AT for recognisers, and where the head for large ones begins
SMALLEST, JUDGED_AT, FINEST = 64, 128, 256
HEADS = {"small": "small_face_quality.json", "large": "face_quality.json"}  # their files
WORST, BEST = 18.0, 42.0  # dB: an estimated PSNR of these is a score of 0 and 1

# Scores up to which a face is restored fully, and from which on it is left alone: benchmarks/strength.py --choose
RESTORED, ALONE = 0.35, 0.55
# By how much a cleaned face seems better than it is: noise is gone, but no detail has come back (docs/experiments.md)
FLATTERED = 0.15


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
    """A network of the standardised features that gives the score: `benchmarks/fit_quality.py` trains it.

    layers: weights [in, out] and biases [out], tanh between them.
    """

    mean: np.ndarray  # [F]
    scale: np.ndarray  # [F]
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    @cache
    def shipped(cls, which: Literal["small", "large"]) -> "QualityHead":
        """The one in the package, read once: for faces judged below JUDGED_AT pixels, or from there on."""
        content = json.loads((resources.files("faceref") / "weights" / HEADS[which]).read_text())
        layers = tuple((np.array(one["weight"]), np.array(one["bias"])) for one in content["layers"])
        return cls(np.array(content["mean"]), np.array(content["scale"]), layers)

    def psnr(self, features: np.ndarray) -> np.ndarray:
        """The estimated PSNR in dB [...] of faces with these features [..., F]."""
        values = standardised(features, self.mean, self.scale)
        for number, (weight, bias) in enumerate(self.layers):
            values = (np.tanh(values) if number else values) @ weight + bias
        return WORST + (BEST - WORST) * values[..., 0]


def quality(face: AlignedFace, size: int | None = None) -> FaceQuality:
    """Judge an aligned face at `size` pixels, by default its picture's: `size_in_photo`, or JUDGED_AT for recognisers.

    The estimate is of the PSNR that the face would have against its truth, were that known: learnt from training faces
    degraded as Eq. 4 of ReF-LDM does, as photographs are, and by noise; and no more than the finest noise alone leaves,
    however strong. Raises PhotoError if none of it lies within the photograph.
    """
    if size is not None and size != face.image.width:
        image = face.image.resize((size, size), Image.Resampling.LANCZOS)
        mask = cv2.resize(face.mask, (size, size), interpolation=cv2.INTER_NEAREST)
        face = AlignedFace(image, mask, Alignment(face.alignment.quad, size))
    pixels, where = face_pixels(face)
    head = QualityHead.shipped("small" if len(pixels) < JUDGED_AT else "large")
    estimate = float(head.psnr(quality_features(pixels, where)))
    by_noise = 20 * np.log10(255 / max(np.nan_to_num(channel_noise(pixels, where)), 0.1))
    return FaceQuality(float(np.clip(min(estimate, by_noise), WORST, BEST)))


def size_in_photo(face: AlignedFace, enlargement: int = 1) -> int:
    """Pixels at which to judge what a face of a photograph lacks: its own there, as far as the estimate was learnt.

    enlargement: how many times larger the photograph is going to be. A small face that stays small lacks nothing that
    its pixels could show (docs/evaluation.md).
    """
    return int(np.clip(round(face.alignment.side * enlargement), SMALLEST, FINEST))


def strength(judged: FaceQuality, *, cleaned: bool = False) -> float:
    """How much of a restoration a face needs, in [0, 1]: all of it if it is bad, none if it is good already.

    judged: at its `size_in_photo`; cleaned: by `faceref.models.cleaner`, which the estimate has not learnt from.
    """
    score = judged.score - FLATTERED if cleaned else judged.score
    return float(np.clip((ALONE - score) / (ALONE - RESTORED), 0, 1))


def face_pixels(face: AlignedFace) -> tuple[np.ndarray, np.ndarray]:
    """RGB float32 [S, S, 3] of an aligned face, and bool [S, S]: what is face and in the photograph."""
    pixels = np.asarray(face.image, dtype=np.float32)
    size = len(pixels)
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    ellipse = np.hypot((x - FACE_CENTRE[0]) / FACE_RADII[0], (y - FACE_CENTRE[1]) / FACE_RADII[1]) < 1
    where = ellipse & (np.asarray(face.mask) > 0)
    if where.sum() < 64:
        raise PhotoError("lies outside of the photograph", subject="the face", hint="choose another face")
    return pixels, where


def quality_features(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What the head looks at, float64 [F]: RGB [S, S, 3] in 0..255, of which `where` [S, S] counts."""
    ycc = to_ycc(pixels)
    luminance = np.ascontiguousarray(ycc[..., 0])
    octaves = list(bands(ycc))
    sizes = [np.abs(octave[where]) for octave in octaves]  # [N, 3]
    spread = [_log(np.sqrt(np.mean(size[:, 0] ** 2))) for size in sizes]
    typical = [_log(np.median(size[:, 0])) for size in sizes[:3]]  # noise is everywhere, edges are not
    tails = [_log(np.quantile(size[:, 0], 0.95) / (np.median(size[:, 0]) + 0.05)) for size in sizes[:2]]
    flat = [_log(_flat_spread(octave[..., 0], where)) for octave in octaves]
    colours = [_log(np.median(size[:, 1:], axis=0).mean()) for size in sizes]  # a face has few, and broad ones
    noise = [_log(_noise_at(luminance, where, scale)) for scale in (1, 2, 4)]
    across, down = (np.abs(np.diff(luminance, n=2, axis=axis)) for axis in (1, 0))
    across, down = across[where[:, 1:-1]], down[where[1:-1]]
    direction = abs(np.log((across.mean() + 0.05) / (down.mean() + 0.05)))
    still = sorted([(across < 0.5).mean(), (down < 0.5).mean()])  # where enlarging drew straight lines between pixels
    contrast, blocks = _log(luminance[where].std()), _log(blockiness(luminance, where))
    return np.array([*spread, *typical, *tails, *flat, *colours, *noise, direction, *still, contrast, blocks])


def standardised(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features [..., F] around 0, and none so far from it that no training face was like it."""
    return np.clip((features - mean) / scale, -4, 4)


def _flat_spread(band: np.ndarray, where: np.ndarray) -> float:
    """The spread of a band [S, S] in the flatter parts of a face."""
    power = cv2.blur(band * band, (WINDOW, WINDOW))  # the sum in a window may end a little below 0
    return float(np.sqrt(max(np.quantile(power[where], FLAT), 0)))


def _noise_at(luminance: np.ndarray, where: np.ndarray, scale: int) -> float:
    """`wavelet_noise` of a picture made smaller by `scale`: of noise that was enlarged by as much; 0 if too small."""
    small = cv2.resize(luminance, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    return float(np.nan_to_num(wavelet_noise(small, where[::scale, ::scale][: small.shape[0], : small.shape[1]])))


def _log(value: float) -> float:
    return float(np.log(value + 0.05))
