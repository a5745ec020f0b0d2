"""Denoiser and decoder trained together: what is judged how, and exact resuming."""

from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file, save_file

from faceref.checkpoints.store import load_pipeline, read_info
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.identity import MobileFaceNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.config import LoopConfig, OptimizerConfig
from faceref.training.run import train_from
from faceref.training.stages.configs import EndToEndConfig
from faceref.training.stages.end_to_end import EndToEndStage

SIZES = {"latent_channels": 4, "channels": (32, 16, 8, 8), "residual_blocks": (1, 0, 0, 0)}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def config_for(photographs: Path, model: Path, **settings) -> EndToEndConfig:
    source = [{"root": "faces"}]
    return EndToEndConfig.model_validate(
        {
            "stage": "end_to_end",
            "data": {"root": photographs, "sources": source, "validation": source, "resolution": 128, "references": 1},
            "model": model,
            "weights": {"perceptual": 0.0},
            "optimizer": OptimizerConfig(learning_rate=1e-3),
            "loop": LoopConfig(
                steps=2, batch_size=2, precision="no", validate_every=2, validation_samples=2, ema_decay=0
            ),
        }
        | ({} if (model / "detail").is_dir() else {"detail": SIZES})
        | settings
    )


@pytest.fixture
def recogniser(tmp_path: Path) -> Path:
    save_file(MobileFaceNet().state_dict(), tmp_path / "recogniser.safetensors")
    return tmp_path / "recogniser.safetensors"


def same(one: Path, other: Path) -> bool:
    weights, others = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    return all(torch.equal(weights[name], others[name]) for name in weights | others)


def test_a_model_gains_a_decoder_and_stays_what_it_was(photographs: Path, tmp_path: Path, tiny_model):
    train_from(config_for(photographs, tiny_model), tmp_path / "once")
    once = tmp_path / "once" / "model"
    train_from(config_for(photographs, once), tmp_path / "twice")
    twice = tmp_path / "twice" / "model"
    assert read_info(once).resolution == read_info(twice).resolution == 128, "it draws twice what it was"
    assert all(same(place / "vae", tiny_model / "vae") for place in (once, twice))
    learnt = [once / "unet", twice / "unet", twice / "detail"]
    before = [tiny_model / "unet", once / "unet", once / "detail"]
    assert not any(same(*pair) for pair in zip(learnt, before, strict=True))
    begun = load_file(once / "detail" / WEIGHTS)
    far = [(load_file(twice / "detail" / WEIGHTS)[name] - weight).abs().max() for name, weight in begun.items()]
    assert max(far) < 0.01, "beginning from the one before"


def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, tiny_model, recogniser):
    weights = {"perceptual": 0.0, "identity": 0.1, "coarse": 1.0}
    config = config_for(photographs, tiny_model, weights=weights, recogniser=recogniser)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "halves", resume=True).finished
    assert same(tmp_path / "straight" / "model" / "detail", tmp_path / "halves" / "model" / "detail")


def items_of(pictures: int = 4) -> dict[str, torch.Tensor]:
    """Samples of which every second has references, and every fourth is no example of detail."""
    drawn = torch.randint(256, (pictures, 3, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    return {
        "hq": drawn[:, 0],
        "mask": torch.full((pictures, 1, 128, 128), 255, dtype=torch.uint8),
        "references": drawn[:, 1:],
        "has_references": torch.arange(pictures) % 2 == 0,
        "coarse": torch.arange(pictures) % 4 == 3,
    }


def built(photographs: Path, model: Path, **settings) -> EndToEndStage:
    torch.manual_seed(0)
    return EndToEndStage.build(config_for(photographs, model, **settings), cast(FaceDataset, None))


def test_what_is_no_example_of_detail_is_compared_at_half_the_size(photographs: Path, tiny_model):
    stage = built(photographs, tiny_model, weights={"perceptual": 0.0, "coarse": 1.0}, latent=0)
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    stripes = 0.2 * torch.tensor([1.0, -1.0]).repeat(64)  # of one pixel: gone at half the size
    _, as_it_is = stage(batch, torch.Generator(), 0, "generator")
    for coarse, same in ((torch.ones(4) > 0, True), (torch.zeros(4) > 0, False)):
        judged = batch | {"coarse": coarse}
        _, numbers = stage(judged, torch.Generator(), 0, "generator")
        _, striped = stage(judged | {"hq": batch["hq"] + stripes}, torch.Generator(), 0, "generator")
        assert striped["half"].item() == pytest.approx(numbers["half"].item(), rel=1e-4)
        assert (striped["l1"].item() == numbers["l1"].item()) is same
    assert as_it_is["half"] > 0


def test_any_number_of_references_is_shown_and_none_in_a_share_of_the_samples(photographs: Path, tiny_model):
    stage = built(photographs, tiny_model, reference_dropout=0.5)
    items = items_of(64)
    generator = torch.Generator().manual_seed(0)
    counts = stage._counts(items["has_references"], 2, generator)
    shown = counts.sum(1)
    assert (shown[~items["has_references"]] == 0).all()
    of_those = shown[items["has_references"]]
    assert {0.0, 1.0, 2.0} == set(of_those.tolist())
    assert 8 < (of_those == 0).sum() < 24
    everything = stage.eval()._counts(items["has_references"], 2, generator)
    assert torch.equal(everything, items["has_references"].float()[:, None].expand(-1, 2))


def test_denoiser_and_decoder_learn_from_what_is_drawn(photographs: Path, tiny_model, recogniser):
    weights = {"perceptual": 0.0, "identity": 0.1, "coarse": 1.0}
    stage = built(photographs, tiny_model, weights=weights, recogniser=recogniser)
    torch.nn.init.normal_(stage.detail.conv_out.weight, std=0.1)  # at first its other layers do not count
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
    loss.backward()
    silent = [name for name, weight in stage.trained.named_parameters() if weight.grad is None]
    assert not silent
    assert all(weight.grad.isfinite().all() for weight in stage.trained.parameters() if weight.grad is not None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"recogniser": None, "weights": {"identity": 1.0}}, "need a recogniser"),
        ({"detail": {"latent_channels": 4, "patch_size": 16}}, "The decoder cannot be built"),
        ({"detail": SIZES | {"patch_size": 4, "channels": (8, 8, 8), "residual_blocks": (0, 0, 0)}}, "draws 64 px"),
    ],
)
def test_settings_that_do_not_fit_are_refused(photographs: Path, tmp_path: Path, tiny_model, settings, reason):
    with pytest.raises(UsageError, match=reason):
        train_from(config_for(photographs, tiny_model, **settings), tmp_path / "run")


def test_a_model_with_a_decoder_restores_at_its_size(photographs: Path, tmp_path: Path, tiny_model):
    train_from(config_for(photographs, tiny_model), tmp_path)
    pipeline = cast(ReFLDMPipeline, load_pipeline(tmp_path / "model")[0])
    lq, reference = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def restore(**options) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": 1, "output_type": "raw"} | options
        return cast(torch.Tensor, pipeline(lq, [reference], generator=generator, **options).images)

    assert restore().shape == lq.shape
    assert restore(output_type="latent").shape == (1, 4, 16, 16)
