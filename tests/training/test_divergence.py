"""A training that blows up ends with a sentence, and with what was good before."""

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_vqgan

from faceref.errors import FacerefError
from faceref.training.checkpoints import Checkpoints
from faceref.training.run import train_from
from faceref.training.stages.configs import VQGANConfig
from faceref.training.stages.stage import Batch, Losses
from faceref.training.stages.vqgan import VQGANStage


def too_fast(photographs: Path, steps: int) -> VQGANConfig:
    tree = tiny_vqgan(photographs, steps).model_dump(mode="json")
    return VQGANConfig.model_validate(tree | {"optimizer": {"learning_rate": 1e30}})


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_nothing_is_exported_from_a_training_that_blew_up(photographs: Path, tmp_path: Path, steps: int):
    with pytest.raises(FacerefError, match="is not a finite number") as caught:
        train_from(too_fast(photographs, steps), tmp_path / "run")
    assert caught.value.code == "diverged"
    assert not (tmp_path / "run" / "model").exists()


def test_the_good_checkpoints_stay(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    forward = VQGANStage.forward

    def breaks(stage: VQGANStage, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        loss, numbers = forward(stage, batch, generator, step, turn)
        return loss * (float("nan") if step == 4 else 1), numbers

    monkeypatch.setattr(VQGANStage, "forward", breaks)
    config = tiny_vqgan(photographs, steps=8, checkpoint_minutes=0)
    with pytest.raises(FacerefError, match=r"at step 5: the loss or a gradient .* the checkpoint of step 4 is kept"):
        train_from(config, tmp_path / "run")
    states = Checkpoints(tmp_path / "run" / "checkpoints")
    assert states.steps() == [3, 4]
    assert all(tensor.isfinite().all() for tensor in states.read(4).networks.values())
