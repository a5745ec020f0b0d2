"""Learned metrics of the package pyiqa, an extra: LPIPS, NIQE and MUSIQ for each picture, FID and KID for a folder.

LPIPS is VGG's, as in the evaluation that the authors of ReF-LDM released; pyiqa's "lpips" is AlexNet's.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceref.evaluation.statistics import Estimate

NAMES = "LPIPS, face LPIPS, NIQE, MUSIQ, FID, KID"
PYIQA = ("lpips-vgg", "niqe", "musiq", "fid")  # what it calls them
HOW_TO_GET_THEM = "pip install 'faceref[metrics]'"


class LearnedMetrics:
    """pyiqa's metrics on one device; pyiqa downloads their weights when they are first made."""

    def __init__(self, device: torch.device) -> None:
        import pyiqa  # type: ignore[import-not-found]

        self.device = device
        self._metrics = {name: pyiqa.create_metric(name, device=device) for name in PYIQA}

    def measure(self, pictures: Tensor, truth: Tensor, face: Tensor) -> dict[str, np.ndarray]:
        """lpips, face_lpips, niqe, musiq [B] of pictures [B, 3, H, W] in [-1, 1]; face [B, 1, H, W] is 1 in the face.

        Face LPIPS is measured with everything but the face set to the truth.
        """
        pictures, truth = ((x.to(self.device).clamp(-1, 1) + 1) / 2 for x in (pictures, truth))
        only_face = torch.where(face.to(self.device) > 0, pictures, truth)
        with torch.no_grad():
            numbers = {
                "lpips": self._metrics["lpips-vgg"](pictures, truth),
                "face_lpips": self._metrics["lpips-vgg"](only_face, truth),
                "niqe": torch.stack([self._metrics["niqe"](picture[None]).reshape(()) for picture in pictures]),
                "musiq": self._metrics["musiq"](pictures),
            }
        return {key: value.reshape(-1).double().cpu().numpy() for key, value in numbers.items()}

    def of_folders(self, pictures: Path, truth: Path, seed: int) -> dict[str, Estimate]:
        """Frechet and kernel inception distance (times 1,000) between two folders of pictures.

        KID (Binkowski et al. 2018) is the squared MMD under the kernel (x y / d + 1)^3, without bias: unlike FID it can
        be compared between sets of different sizes. Of more than 1,000 pictures pyiqa draws 100 subsets, seeded here.
        """
        fid = self._metrics["fid"](str(pictures), str(truth))
        state = np.random.get_state()  # pyiqa draws from NumPy's global generator
        np.random.seed(seed)
        try:
            kid = self._metrics["fid"](str(pictures), str(truth), distance_type="mmd")
        finally:
            np.random.set_state(state)
        count = sum(path.is_file() for path in pictures.rglob("*"))
        numbers = {"fid": float(fid), "kid": 1000 * float(kid)}
        return {name: Estimate(value, np.nan, np.nan, count) for name, value in numbers.items()}


def load_learned_metrics(device: torch.device) -> tuple[LearnedMetrics | None, dict[str, str]]:
    """The metrics; or None, and for their names why they are not measured."""
    if importlib.util.find_spec("pyiqa") is None:
        return None, {NAMES: HOW_TO_GET_THEM}
    try:
        return LearnedMetrics(device), {}
    except Exception as error:  # each of pyiqa's ways to download weights fails in its own
        reason = str(error).partition("\n")[0]
        return None, {NAMES: f"pyiqa could not load their weights ({reason}); run it once with a network"}
