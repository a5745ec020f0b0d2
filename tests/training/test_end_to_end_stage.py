"""Denoiser and decoders trained together: softly, then crisply; what is judged how, and exact resuming."""

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
            "weights": {"perceptual": 0.0, "adversarial_from": 1},
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


def test_a_model_gains_a_soft_decoder_then_a_crisp_one_and_stays_what_it_was(
    photographs: Path, tmp_path: Path, tiny_model
):
    train_from(config_for(photographs, tiny_model), tmp_path / "soft")
    soft = tmp_path / "soft" / "model"
    train_from(config_for(photographs, soft, crisp=True), tmp_path / "crisp")
    crisp = tmp_path / "crisp" / "model"
    assert read_info(soft).resolution == read_info(crisp).resolution == 128, "it draws twice what it was"
    assert (read_info(soft).crisp, read_info(crisp).crisp) == (None, 0.0)
    assert all(same(place / "vae", tiny_model / "vae") for place in (soft, crisp))
    learnt = [soft / "unet", crisp / "unet", crisp / "detail", crisp / "crisp_detail"]
    before = [tiny_model / "unet", soft / "unet", soft / "detail", soft / "detail"]
    assert not any(same(*pair) for pair in zip(learnt, before, strict=True))
    begun = load_file(soft / "detail" / WEIGHTS)
    far = [(load_file(crisp / "crisp_detail" / WEIGHTS)[name] - weight).abs().max() for name, weight in begun.items()]
    assert max(far) < 0.01, "beginning from the soft one"


def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, tiny_model, recogniser):
    weights = {"perceptual": 0.1, "identity": 0.1, "coarse": 1.0, "adversarial_from": 1}
    judged = {"recogniser": recogniser, "discriminator": "projected", "discriminator_channels": 16}
    config = config_for(photographs, tiny_model, weights=weights, **judged)
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


def test_the_discriminator_learns_alone_before_it_counts(photographs: Path, tiny_model):
    weights = {"perceptual": 0.0, "adversarial": 0.5, "adversarial_from": 5, "warm_up": 2}
    stage = built(photographs, tiny_model, weights=weights, crisp=True)
    assert [len(stage.turns(step)) for step in (2, 3, 5)] == [1, 2, 2]
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    alone, _ = stage(batch, torch.Generator(), 4, "generator")
    together, numbers = stage(batch, torch.Generator(), 5, "generator")
    assert together.item() == pytest.approx((alone + 0.5 * numbers["adversarial"]).item(), rel=1e-5)


def test_the_discriminator_judges_what_was_drawn_in_the_other_turn(photographs: Path, tiny_model):
    weights = {"perceptual": 0.0, "adversarial_from": 0}
    stage = built(photographs, tiny_model, weights=weights, crisp=True)
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    by_itself, _ = stage(dict(batch), torch.Generator(), 0, "discriminator")
    stage(batch, torch.Generator(), 0, "generator")
    assert len(batch["drawn"]) == 2, "half of the batch"
    after_the_other, _ = stage(batch, torch.Generator(), 0, "discriminator")
    assert after_the_other.item() == pytest.approx(by_itself.item(), rel=1e-4)
    after_the_other.backward()
    assert all(weight.grad is None for weight in stage.trained.parameters())
    assert all(weight.grad is not None for weight in stage.discriminator.parameters())


def test_what_is_no_example_of_detail_is_compared_at_half_the_size(photographs: Path, tiny_model):
    stage = built(photographs, tiny_model, weights={"perceptual": 0.0, "coarse": 1.0, "adversarial_from": 9}, latent=0)
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


def test_denoiser_and_decoders_learn_from_what_is_drawn(photographs: Path, tiny_model, recogniser):
    weights = {"perceptual": 0.1, "identity": 0.1, "coarse": 1.0, "adversarial": 0.1, "adversarial_from": 0}
    stage = built(photographs, tiny_model, weights=weights, crisp=True, recogniser=recogniser)
    for decoder in (
        stage.soft,
        stage.crisp,
    ):  # at first their other layers do not count
        assert decoder is not None
        torch.nn.init.normal_(decoder.conv_out.weight, std=0.1)
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
    loss.backward()
    silent = [name for name, weight in stage.trained.named_parameters() if weight.grad is None]
    assert not silent
    assert all(weight.grad.isfinite().all() for weight in stage.trained.parameters() if weight.grad is not None)
    assert all(weight.grad is None for weight in stage.discriminator.parameters())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"discriminator": "projected"}, "A projected discriminator needs a recogniser"),
        ({"recogniser": None, "weights": {"identity": 1.0}}, "need a recogniser"),
        ({"detail": {"latent_channels": 4, "patch_size": 16}}, "The decoder cannot be built"),
        ({"detail": SIZES | {"patch_size": 4, "channels": (8, 8, 8), "residual_blocks": (0, 0, 0)}}, "draws 64 px"),
    ],
)
def test_settings_that_do_not_fit_are_refused(photographs: Path, tmp_path: Path, tiny_model, settings, reason):
    with pytest.raises(UsageError, match=reason):
        train_from(config_for(photographs, tiny_model, **settings), tmp_path / "run")


def test_a_model_with_a_decoder_restores_at_its_size_as_crisply_as_asked(photographs: Path, tmp_path: Path, tiny_model):
    train_from(config_for(photographs, tiny_model), tmp_path / "soft")
    train_from(config_for(photographs, tmp_path / "soft" / "model", crisp=True), tmp_path / "crisp")
    pipeline = cast(ReFLDMPipeline, load_pipeline(tmp_path / "crisp" / "model")[0])
    lq, reference = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def restore(crisp: float | None, **options) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": 1, "output_type": "raw"} | options
        return cast(torch.Tensor, pipeline(lq, [reference], crisp=crisp, generator=generator, **options).images)

    soft, between, crisp = (restore(share) for share in (0.0, 0.5, 1.0))
    assert soft.shape == lq.shape
    assert torch.equal(soft, restore(None)), "as its description says"
    assert not torch.equal(soft, crisp)
    assert max((between - soft).norm(), (crisp - between).norm()) < (crisp - soft).norm()
    assert restore(None, output_type="latent").shape == (1, 4, 16, 16)
    with pytest.raises(UsageError, match="crispness of 2"):
        restore(2)
    with pytest.raises(UsageError, match="draws in one way only"):
        load_pipeline(tmp_path / "soft" / "model")[0](lq, num_inference_steps=1, crisp=0.5)
