"""A training that blows up ends with a sentence, and with what was good before."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_runs import tiny_refldm, tiny_vqgan

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


def test_a_result_that_is_no_number_is_none_and_resuming_exports_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    validate, run = VQGANStage.validate, tmp_path / "run"

    def fails(stage: VQGANStage, batch: Batch, generator: torch.Generator) -> tuple[dict[str, float], Image.Image]:
        metrics, picture = validate(stage, batch, generator)
        return metrics | {"psnr": float("nan")}, picture

    with monkeypatch.context() as patch:
        patch.setattr(VQGANStage, "validate", fails)
        for resume in (False, True):
            with pytest.raises(FacerefError, match="a validation result is not a finite number") as caught:
                train_from(tiny_vqgan(photographs, steps=1), run, resume=resume)
            assert caught.value.code == "diverged"
            assert not (run / "model").exists()
            assert not (run / "validation.jsonl").exists()
            assert Checkpoints(run / "checkpoints").best() is None
    (run / "validation.jsonl").write_text('{"step": 1, "psnr": NaN}\n')  # as an older faceref did
    assert train_from(tiny_vqgan(photographs, steps=1), run, resume=True).finished
    (line,) = (run / "validation.jsonl").read_text().splitlines()
    assert json.loads(line)["psnr"] > 0


def test_a_face_that_is_not_finite_in_validation_is_a_training_that_blew_up(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    config = config.model_copy(update={"model": config.model.model_copy(update={"guidance": 1e300})})
    with pytest.raises(FacerefError, match="at step 1: a validation result is not a finite number") as caught:
        train_from(config, tmp_path / "run")
    assert caught.value.code == "diverged"


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
