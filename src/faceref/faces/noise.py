"""How noisy, blocky and fine a picture is, from its pixels alone: the estimates behind a face's quality and its grain.

Pixels are float32 on the 0..255 scale, a channel [h, w] or several [h, w, C]; `where` bool [h, w] says which count.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from faceref.pictures.colour import YCC

MAD_TO_SIGMA = 1 / 0.6745  # the median of |x| of a normal x, turned into its standard deviation
TO_YCC = np.array(YCC, np.float32)
TO_RGB = np.linalg.inv(TO_YCC)
BAND_SIGMAS = (0.0, 0.7, 1.4, 2.8, 5.6)  # pixels: a band is what lies between two of these blurs


def to_ycc(pixels: np.ndarray) -> np.ndarray:
    """RGB [h, w, 3] as luminance and two differences of colour, which are about 0."""
    return pixels @ TO_YCC.T


def bands(pixels: np.ndarray, sigmas: tuple[float, ...] = BAND_SIGMAS) -> Iterator[np.ndarray]:
    """The differences of Gaussian blurs of growing width, finest first; the last blur is left out."""
    fine = blur(pixels, sigmas[0])
    for sigma in sigmas[1:]:
        coarse = blur(pixels, sigma)
        yield fine - coarse
        fine = coarse


def blur(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [h, w] or [h, w, C]; sigma 0 leaves it as it is."""
    return cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0 else pixels


def wavelet_noise(channel: np.ndarray, where: np.ndarray) -> float:
    """Standard deviation of the noise: the median of the diagonal Haar details (Donoho and Johnstone 1994).

    Edges are few among the details, so that the median is of the noise. NaN if no whole 2x2 block counts.
    """
    details = _diagonal_haar(channel)
    counted = _two_by_two(where)
    all_four = counted.all(axis=(1, 3))  # [h / 2, w / 2]
    return float(np.median(np.abs(details[all_four])) * MAD_TO_SIGMA) if all_four.any() else float("nan")


def channel_noise(pixels: np.ndarray, where: np.ndarray) -> float:
    """The root of the mean square of the channels' `wavelet_noise`: pixels [h, w, C]. NaN if no 2x2 block counts."""
    return float(np.sqrt(np.mean([wavelet_noise(channel, where) ** 2 for channel in np.moveaxis(pixels, -1, 0)])))


def blockiness(channel: np.ndarray, where: np.ndarray) -> float:
    """How much the bends between neighbours stand on a regular grid, as those of JPEG's blocks or of enlarging do.

    The mean bend of each column (row) of pixels is a signal along x (y), in which a grid of any period is a peak of the
    spectrum. The larger peak of the two directions, as a multiple of the spectrum's median.
    """
    weights = where.astype(np.float32)
    return max(_grid_peak(channel, weights), _grid_peak(channel.T, weights.T))


def _grid_peak(channel: np.ndarray, weights: np.ndarray) -> float:
    # second differences: a smooth ramp has none, the step between two blocks has two
    steps = np.abs(np.diff(channel, n=2, axis=1)) * weights[:, 1:-1]
    total = weights[:, 1:-1].sum(0)
    columns = total > 0.25 * total.max(initial=0)
    if columns.sum() < 16:
        return 3.0
    profile = np.log(steps.sum(0)[columns] / total[columns] + 0.1)
    peaks = profile - ndimage.median_filter(profile, 5)  # without the eyes, the mouth and what else is slow
    spectrum = np.abs(np.fft.rfft((peaks - peaks.mean()) * np.hanning(len(peaks))))[2:]
    return float(spectrum.max() / (np.median(spectrum) + 1e-3))


def _two_by_two(pixels: np.ndarray) -> np.ndarray:
    """[h, w] -> [h / 2, 2, w / 2, 2], an odd last row or column left out."""
    height, width = (side // 2 for side in pixels.shape)
    return pixels[: height * 2, : width * 2].reshape(height, 2, width, 2)


def _diagonal_haar(channel: np.ndarray) -> np.ndarray:
    """The HH coefficients [h / 2, w / 2] of the orthonormal Haar transform."""
    block = _two_by_two(channel)
    return (block[:, 0, :, 0] - block[:, 0, :, 1] - block[:, 1, :, 0] + block[:, 1, :, 1]) / 2
