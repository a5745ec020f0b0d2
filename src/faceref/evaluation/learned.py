"""Learned metrics of the package pyiqa, an extra: LPIPS, NIQE and MUSIQ for each picture, FID for a folder."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HOW_TO_GET_THEM = "pip install 'faceref[metrics]'"
UNAVAILABLE = {
    "LPIPS, face LPIPS, NIQE, MUSIQ, FID": HOW_TO_GET_THEM,
}
ALWAYS_UNAVAILABLE = {"KID": "not in pyiqa; compute it on the folders of pictures with torch-fidelity"}


class LearnedMetrics:
    """pyiqa's metrics on one device; their weights are downloaded by pyiqa on first use."""

    def __init__(self, device: torch.device) -> None:
        import pyiqa  # type: ignore[import-not-found]

        self.device = device
        self._metrics = {name: pyiqa.create_metric(name, device=device) for name in ("lpips", "niqe", "musiq", "fid")}

    def measure(self, pictures: Tensor, truth: Tensor, face: Tensor) -> dict[str, np.ndarray]:
        """lpips, face_lpips, niqe, musiq [B] of pictures [B, 3, H, W] in [-1, 1]; face [B, 1, H, W] is 1 in the face.

        Face LPIPS is measured with everything but the face set to the truth.
        """
        pictures, truth = ((x.to(self.device).clamp(-1, 1) + 1) / 2 for x in (pictures, truth))
        only_face = torch.where(face.to(self.device) > 0, pictures, truth)
        with torch.no_grad():
            numbers = {
                "lpips": self._metrics["lpips"](pictures, truth),
                "face_lpips": self._metrics["lpips"](only_face, truth),
                "niqe": torch.stack([self._metrics["niqe"](picture[None]).reshape(()) for picture in pictures]),
                "musiq": self._metrics["musiq"](pictures),
            }
        return {key: value.reshape(-1).double().cpu().numpy() for key, value in numbers.items()}

    def fid(self, pictures: Path, truth: Path) -> float:
        """Frechet inception distance between two folders of pictures."""
        return float(self._metrics["fid"](str(pictures), str(truth)))


def load_learned_metrics(device: torch.device) -> LearnedMetrics | None:
    """None where pyiqa is not installed."""
    return None if importlib.util.find_spec("pyiqa") is None else LearnedMetrics(device)
