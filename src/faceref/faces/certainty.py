"""May this face be that person? The distance of embeddings means less the more degraded a face is."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class Calibration:
    """A logistic regression of "the same person" on `features`, fitted by `benchmarks/calibrate_identity.py fit`.

    threshold: below this certainty a face should not be restored as the person unless somebody says that it is.
    """

    coefficients: tuple[float, ...]
    threshold: float

    @classmethod
    @cache
    def shipped(cls) -> "Calibration":
        """The one in the package, read once."""
        content = json.loads((resources.files("faceref") / "weights" / "identity.json").read_text())
        return cls(tuple(content["coefficients"]), content["threshold"])

    def certainty(self, distance: np.ndarray, score: np.ndarray) -> np.ndarray:
        """How certain it is that a face may be a person, in [0, 1], of distances and quality scores of one shape.

        distance: Euclidean, of the face's probe (`TorchDlibRecogniser.embed_probes`) to the mean of dlib's embeddings
        of the person's good photographs; score: of the face before it is restored. Of faces as often the person's as
        strangers', this share are the person's.
        """
        return expit(self.log_odds(distance, score))

    def log_odds(self, distance: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Of the same person against another, if the one is as probable beforehand as the other."""
        return features(distance, score) @ np.array(self.coefficients)


def features(distance: np.ndarray, score: np.ndarray) -> np.ndarray:
    """[..., 5] of distances and quality scores [...]: quality moves the border, and how steep it is."""
    distance, score = np.broadcast_arrays(np.asarray(distance, np.float64), np.asarray(score, np.float64))
    return np.stack([np.ones_like(distance), distance, score, distance * score, score**2], axis=-1)


def refusal_threshold() -> float:
    """The certainty below which a face should not be restored as the person.

    It lets 0.5 % of strangers pass, or fewer, of faces of every kind but severely degraded ones, which hardly tell who
    they are; see docs/evaluation.md.
    """
    return Calibration.shipped().threshold
