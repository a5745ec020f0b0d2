"""pyiqa is an extra: without it nothing is measured, with it pictures reach it as [B, 3, H, W] in [0, 1]."""

import sys
import types
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from faceref.evaluation import learned


@pytest.fixture
def pyiqa(monkeypatch):
    """In place of pyiqa, those of its metrics that ReF-LDM was evaluated by, and that can be computed in the head."""

    def create_metric(name: str, device: torch.device):
        metrics = {
            "lpips-vgg": lambda a, b: (a - b).abs().mean(dim=(1, 2, 3)).view(-1, 1, 1, 1),
            "niqe": lambda a: a.mean().view(1, 1) if len(a) == 1 else pytest.fail("niqe of a batch"),
            "musiq": lambda a: a.amax(dim=(1, 2, 3)).view(-1, 1),
            "fid": lambda a, b, distance_type="frechet": (
                len(a) + len(b) if distance_type == "frechet" else np.random.rand()  # as pyiqa draws its subsets
            ),
        }
        return metrics[name]

    module = types.ModuleType("pyiqa")
    module.create_metric = create_metric  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "pyiqa", module)


def test_without_pyiqa_there_are_no_learned_metrics(monkeypatch):
    monkeypatch.setattr(learned.importlib.util, "find_spec", lambda name: None)
    metrics, not_measured = learned.load_learned_metrics(torch.device("cpu"))
    assert metrics is None
    assert not_measured == {"LPIPS, face LPIPS, NIQE, MUSIQ, FID, KID": "pip install 'faceref[metrics]'"}


def test_without_pyiqas_weights_there_is_a_reason(pyiqa, monkeypatch):
    def create_metric(name: str, device: torch.device):
        raise URLError("no route to host")

    monkeypatch.setattr(sys.modules["pyiqa"], "create_metric", create_metric)
    metrics, not_measured = learned.load_learned_metrics(torch.device("cpu"))
    assert metrics is None
    ((names, reason),) = not_measured.items()
    assert "LPIPS" in names
    assert "could not load their weights (<urlopen error no route to host>)" in reason


def test_pictures_reach_pyiqa_between_0_and_1_and_face_lpips_sees_the_face_only(pyiqa):
    metrics, _ = learned.load_learned_metrics(torch.device("cpu"))
    assert metrics is not None
    truth = torch.full((2, 3, 8, 8), -1.0)
    pictures = truth.clone()
    pictures[0] = 1.0
    pictures[1, :, :4] = 1.5  # clipped
    face = torch.zeros(2, 1, 8, 8)
    face[:, :, 3:5] = 1
    numbers = metrics.measure(pictures, truth, face)
    np.testing.assert_allclose(numbers["lpips"], [1, 0.5])
    np.testing.assert_allclose(numbers["face_lpips"], [0.25, 0.125])
    np.testing.assert_allclose(numbers["niqe"], [1, 0.5])
    np.testing.assert_allclose(numbers["musiq"], [1, 1])


def test_kid_of_the_same_seed_is_the_same_and_leaves_numpys_generator_alone(pyiqa):
    metrics, _ = learned.load_learned_metrics(torch.device("cpu"))
    assert metrics is not None
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    first, again, other = (metrics.of_folders(Path("abc"), Path("de"), seed) for seed in (1, 1, 2))
    assert first["kid"].mean == again["kid"].mean
    assert first["fid"].mean == other["fid"].mean == 5
    assert first["kid"].mean != other["kid"].mean
    assert np.random.rand() == expected
