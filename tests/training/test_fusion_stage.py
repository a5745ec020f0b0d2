"""The stage of `PixelFusion`: what it is trained on, what it leaves alone, and exact resuming."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from faceref.checkpoints.info import read_info
from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.models.fusion import PixelFusion
from faceref.models.identity import MobileFaceNet
from faceref.training.config import LoopConfig, OptimizerConfig
from faceref.training.run import train_from
from faceref.training.stages.configs import FusionConfig
from faceref.training.stages.fusion import FusionStage

WEIGHTS = "diffusion_pytorch_model.safetensors"


def config_for(photographs: Path, model: Path, **settings) -> FusionConfig:
    source = [{"root": "faces"}]
    return FusionConfig.model_validate(
        {
            "stage": "fusion",
            "data": {
                "root": photographs,
                "sources": source,
                "validation": source,
                "resolution": 64,
                "references": 1,
            },
            "model": model,
            "fusion": {"channels": 32, "residual_blocks": 1},
            "weights": {"perceptual": 0.0, "adversarial_from": 1},
            "optimizer": OptimizerConfig(learning_rate=1e-3),
            "loop": LoopConfig(
                steps=2, batch_size=2, precision="no", validate_every=2, validation_samples=2, ema_decay=0
            ),
        }
        | settings
    )


@pytest.mark.parametrize("model", ["tiny_model", "tiny_blind_model"])
def test_a_model_of_either_family_gains_a_fusion_and_stays_what_it_was(
    photographs: Path, tmp_path: Path, request, model
):
    folder = request.getfixturevalue(model)
    train_from(config_for(photographs, folder), tmp_path / "run")
    before, info = load_pipeline(folder)
    after, info_after = load_pipeline(tmp_path / "run" / "model")
    assert info_after == info
    assert before.fusion is None
    assert isinstance(after.fusion, PixelFusion)
    assert after.fusion.conv_out.weight.any(), "it has learnt something"
    for part in ("unet", "vae"):
        old, new = (load_file(place / part / WEIGHTS) for place in (folder, tmp_path / "run" / "model"))
        assert all(torch.equal(old[name], new[name]) for name in old | new)


def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, tiny_model, recogniser):
    weights = {"perceptual": 0.1, "identity": 0.1, "adversarial_from": 1}
    config = config_for(photographs, tiny_model, weights=weights, recogniser=recogniser)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "halves", resume=True).finished
    one, other = (load_file(tmp_path / run / "model" / "fusion" / WEIGHTS) for run in ("straight", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one | other)


def test_what_was_measured_without_a_fusion_is_not_said_of_the_model_with_it(
    photographs: Path, tmp_path: Path, tiny_model_with_blind
):
    model = shutil.copytree(tiny_model_with_blind, tmp_path / "model")
    described = read_info(model).model_copy(
        update={"quality": {"identity": 0.5}, "quality_command": "faceref evaluate"}
    )
    (model / "faceref.json").write_text(described.model_dump_json())
    train_from(config_for(photographs, model), tmp_path / "run")
    after = tmp_path / "run" / "model"
    assert read_info(after) == described.model_copy(update={"quality": {}, "quality_command": None})
    assert read_info(after / "blind") == read_info(model / "blind"), "what it brings for no references stays"


def test_a_trained_fusion_is_trained_further_in_its_own_place(photographs: Path, tmp_path: Path, tiny_model):
    train_from(config_for(photographs, tiny_model), tmp_path / "run")
    model = tmp_path / "run" / "model"
    still = OptimizerConfig(learning_rate=0.0)
    train_from(config_for(photographs, model, initial=model, fusion={}, optimizer=still), tmp_path / "again")
    one, other = (load_file(place / "fusion" / WEIGHTS) for place in (model, tmp_path / "again" / "model"))
    assert all(torch.equal(one[name], other[name]) for name in one | other)


def test_it_is_judged_by_the_good_picture_and_by_who_is_on_it(photographs: Path, tiny_model):
    recogniser = MobileFaceNet().eval()
    config = config_for(photographs, tiny_model, weights={"perceptual": 0.0, "identity": 0.5})
    stage = FusionStage(config, PixelFusion(channels=32), *load_pipeline(tiny_model), None, recogniser)
    hq = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    batch = {"hq": hq, "lq": torch.zeros_like(hq), "restored": hq.clone(), "mask": torch.ones(2, 1, 64, 64)}
    loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
    assert loss.item() == pytest.approx(0, abs=1e-5), "nothing to correct"
    loss, numbers = stage(batch | {"restored": hq.flip(2)}, torch.Generator().manual_seed(0), 0, "generator")
    assert numbers["l1"] > 0.1
    assert 0 < numbers["identity"] <= 2
    assert loss.item() == pytest.approx((numbers["l1"] + 0.5 * numbers["identity"]).item(), rel=1e-5)
    loss.backward()
    assert {name.split(".")[0] for name, weight in stage.named_parameters() if weight.grad is not None} == {"fusion"}


def test_restorations_come_with_and_without_references(photographs: Path, tiny_model):
    pictures = torch.randint(256, (2, 2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    items = {
        "hq": pictures[:, 0],
        "mask": torch.full((2, 1, 64, 64), 255, dtype=torch.uint8),
        "references": pictures[:, 1:],
        "has_references": torch.tensor([True, True]),
        "coarse": torch.tensor([False, False]),
    }
    restored, held_out = [], []
    for dropout in (0.0, 1.0):
        config = config_for(photographs, tiny_model, reference_dropout=dropout)
        stage = FusionStage(config, PixelFusion(channels=32), *load_pipeline(tiny_model), None)
        restored.append(stage.make_batch(items, torch.Generator().manual_seed(0))["restored"])
        stage.eval()
        held_out.append(stage.make_batch(items, torch.Generator().manual_seed(0))["restored"])
    assert restored[0].shape == (2, 3, 64, 64)
    assert not torch.equal(*restored)
    assert torch.equal(*held_out), "held out, they are shown all of their references"
    without = stage.make_batch(items | {"has_references": torch.zeros(2).bool()}, torch.Generator().manual_seed(0))
    assert not torch.equal(without["restored"], held_out[0])


def test_pictures_of_another_size_than_the_models_are_refused(photographs: Path, tmp_path: Path, tiny_model):
    config = config_for(photographs, tiny_model)
    config = config.model_copy(update={"data": config.data.model_copy(update={"resolution": 128})})
    with pytest.raises(UsageError, match=r"works at 64 px; set data\.resolution to that"):
        train_from(config, tmp_path / "run")


def test_a_loss_without_its_recogniser_is_refused(photographs: Path, tmp_path: Path, tiny_model):
    with pytest.raises(UsageError, match=r"weights\.identity needs a recogniser"):
        train_from(config_for(photographs, tiny_model, weights={"identity": 0.1, "perceptual": 0}), tmp_path / "run")


def test_wrong_settings_of_the_network_are_named(photographs: Path, tmp_path: Path, tiny_model):
    with pytest.raises(UsageError, match="The fusion cannot be built"):
        train_from(config_for(photographs, tiny_model, fusion={"chanels": 3}), tmp_path / "run")
    PixelFusion().save_pretrained(tmp_path / "fusion")
    with pytest.raises(UsageError, match="leave out initial"):
        train_from(config_for(photographs, tiny_model, initial=tmp_path / "fusion"), tmp_path / "run")
    with pytest.raises(UsageError, match=r"fusion\.patch_size must divide the resolution, 64"):
        train_from(config_for(photographs, tiny_model, fusion={"patch_size": 3}), tmp_path / "run")
