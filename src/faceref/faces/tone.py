"""The tone of a print: grey, sepia or faded faces stay as the print has them, whatever colours a model knows."""

import numpy as np

from faceref.faces.noise import blur
from faceref.pictures.colour import LUMINANCE

BINS = 16  # of luminance: the tone is a curve from black to white
SMOOTHING = 0.012  # of the face's side: grain and JPEG's blocks have colours of their own
EVERY = 0.66  # of that: the distance of the pixels that are looked at, between which there is nothing else
TONED = 2.5  # levels: colours that differ by less from the print's tone are none
_WEIGHTS = np.array(LUMINANCE, np.float32)


class Tone:
    """What colour a print gives to each luminance.

    Made of pixels float32 [h, w, 3] in 0..255, of which `where` bool [h, w] counts.
    """

    def __init__(self, pixels: np.ndarray, where: np.ndarray) -> None:
        deviation = SMOOTHING * pixels.shape[0]
        some = (slice(None, None, max(int(EVERY * deviation), 1)),) * 2
        smooth = blur(pixels, deviation)[some][where[some]]  # [N, 3]
        luminance = smooth @ _WEIGHTS
        bins = np.array_split(np.argsort(luminance, kind="stable"), BINS)
        # black has no colour
        self._luminance = np.array([0.0, *(np.median(luminance[one]) for one in bins)])
        colour = [np.median(smooth[one] - luminance[one, None], axis=0) for one in bins]
        self._colour = np.round(np.stack([np.zeros(3), *colour]), 2)  # [1 + BINS, 3]; grey is 0 and not nearly 0
        rest = smooth - luminance[:, None] - self._of(luminance)
        self.spread = float(np.quantile(np.abs(rest).max(-1), 0.9))

    @property
    def is_all(self) -> bool:
        """Whether the print has no colours besides: it is grey, sepia, or faded to nearly that."""
        return self.spread < TONED

    def colour(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [h, w, 3] in the print's tone: of their own only the luminance is kept."""
        luminance = pixels @ _WEIGHTS
        return luminance[..., None] + self._of(luminance)

    def _of(self, luminance: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(luminance, self._luminance, channel) for channel in self._colour.T], axis=-1)
