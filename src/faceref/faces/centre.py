"""The mean that centres the cosine of dlib's embeddings.

They all lie in one narrow cone (two strangers have a plain cosine of 0.84), so that the cosine is taken after
subtracting the mean over many people; the distance needs no mean and is dlib's own measure.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from faceref.errors import DataError
from faceref.files import write_atomically


@dataclass(frozen=True, eq=False)
class Centre:
    """The mean float64 [128] of dlib's embeddings over many people, and where it comes from."""

    mean: np.ndarray
    photographs: int
    source: str

    def cosine(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cosine of embeddings [..., 128] after subtracting the mean: about 0 for strangers, 1 for the same picture."""
        a, b = a - self.mean, b - self.mean
        return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))

    @classmethod
    def read(cls, path: Path) -> "Centre":
        """Raises DataError if the file is not what `write` writes."""
        try:
            content = json.loads(path.read_text())
            mean = np.array(content["mean"], dtype=np.float64)
            if mean.shape != (128,):
                raise ValueError(f"{mean.shape} numbers")
            return cls(mean, content["photographs"], content["source"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"is not a mean of embeddings ({error})", subject=path, hint="compute it again") from error

    @classmethod
    @cache
    def shipped(cls) -> "Centre":
        """The mean over the training photographs of LFW that comes with the package, read once."""
        return cls.read(Path(str(resources.files("faceref"))) / "weights" / "dlib_mean.json")

    def write(self, path: Path) -> None:
        numbers = [round(value, 6) for value in self.mean.tolist()]
        content = {"source": self.source, "photographs": self.photographs, "mean": numbers}
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(content) + "\n")
