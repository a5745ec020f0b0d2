"""The stage of `DetailDecoder`: soft first, then crisp; what it is trained on, what it leaves alone, exact resuming."""

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
from faceref.training.stages.configs import DetailConfig
from faceref.training.stages.detail import DetailStage

SIZES = {"latent_channels": 4, "channels": (32, 16, 8, 8), "residual_blocks": (1, 0, 0, 0)}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def config_for(photographs: Path, model: Path, **settings) -> DetailConfig:
    source = [{"root": "faces"}]
    return DetailConfig.model_validate(
        {
            "stage": "detail",
            "data": {"root": photographs, "sources": source, "validation": source, "resolution": 128, "references": 1},
            "model": model,
            "weights": {"perceptual": 0.0, "adversarial_from": 1},
            "optimizer": OptimizerConfig(learning_rate=1e-3),
            "loop": LoopConfig(
                steps=2, batch_size=2, precision="no", validate_every=2, validation_samples=2, ema_decay=0
            ),
        }
        | ({} if settings.get("crisp") else {"detail": SIZES})
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
    assert (read_info(soft).crisp, read_info(crisp).crisp) == (None, 1.0)
    assert all(same(place / part, tiny_model / part) for part in ("unet", "vae") for place in (soft, crisp))
    assert same(soft / "detail", crisp / "detail")
    assert not same(crisp / "detail", crisp / "crisp_detail"), "it has learnt something"
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


def test_the_discriminator_learns_alone_before_it_counts(photographs: Path, tiny_model):
    weights = {"perceptual": 0.0, "adversarial_from": 5, "warm_up": 2}
    stage = DetailStage.build(config_for(photographs, tiny_model, weights=weights), cast(FaceDataset, None))
    assert [len(stage.turns(step)) for step in (2, 3, 5)] == [1, 2, 2]
    picture = torch.zeros(1, 3, 128, 128)
    batch = {
        "hq": picture + 0.5,
        "lq": picture,
        "latents": torch.zeros(1, 4, 16, 16),
        "mask": torch.ones_like(picture)[:, :1],
    }
    alone, _ = stage(batch, torch.Generator(), 4, "generator")
    together, numbers = stage(batch, torch.Generator(), 5, "generator")
    expected = alone + 0.8 * numbers["adversarial_weight"] * numbers["adversarial"]
    assert together.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_adversarial_loss_has_its_own_weight_where_the_gradients_do_not_count(photographs: Path, tiny_model):
    weights = {"perceptual": 0.0, "adversarial": 0.5, "adaptive": False, "adversarial_from": 1}
    stage = DetailStage.build(config_for(photographs, tiny_model, weights=weights), cast(FaceDataset, None))
    picture = torch.zeros(1, 3, 128, 128)
    batch = {
        "hq": picture,
        "lq": picture,
        "latents": torch.zeros(1, 4, 16, 16),
        "mask": torch.ones_like(picture)[:, :1],
    }
    alone, _ = stage(batch, torch.Generator(), 0, "generator")
    together, numbers = stage(batch, torch.Generator(), 1, "generator")
    assert together.item() == pytest.approx((alone + 0.5 * numbers["adversarial"]).item(), rel=1e-5)


def test_it_may_begin_as_another_decoder(photographs: Path, tmp_path: Path, tiny_model):
    train_from(config_for(photographs, tiny_model), tmp_path / "first")
    trained = tmp_path / "first" / "model"
    config = config_for(photographs, tiny_model, initial=trained, detail={})
    stage = DetailStage.build(config, cast(FaceDataset, None))
    begun = load_file(trained / "detail" / WEIGHTS)
    assert all(torch.equal(weight, begun[name]) for name, weight in stage.decoder.state_dict().items())


def test_it_is_shown_references_in_all_but_a_share_of_the_samples(photographs: Path, tiny_model):
    pictures = torch.randint(256, (2, 2, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    items = {
        "hq": pictures[:, 0],
        "mask": torch.full((2, 1, 128, 128), 255, dtype=torch.uint8),
        "references": pictures[:, 1:],
        "has_references": torch.tensor([True, False]),
    }

    def latents(dropout: float, training: bool = True) -> torch.Tensor:
        stage = DetailStage.build(
            config_for(photographs, tiny_model, reference_dropout=dropout), cast(FaceDataset, None)
        )
        return stage.train(training).make_batch(items, torch.Generator().manual_seed(0))["latents"]

    shown = latents(0.0)
    assert shown.shape == (2, 4, 16, 16)
    assert not torch.equal(shown[0], latents(1.0)[0])
    torch.testing.assert_close(shown[1], latents(1.0)[1])
    torch.testing.assert_close(shown, latents(1.0, training=False))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"discriminator": "projected"}, "A projected discriminator needs a recogniser"),
        ({"crisp": True}, "has no decoder to begin from; train it first"),
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
    assert torch.equal(crisp, restore(None)), "as its description says"
    assert not torch.equal(soft, crisp)
    assert max((between - soft).norm(), (crisp - between).norm()) < (crisp - soft).norm()
    assert restore(None, output_type="latent").shape == (1, 4, 16, 16)
    with pytest.raises(UsageError, match="crispness of 2"):
        restore(2)
    with pytest.raises(UsageError, match="draws in one way only"):
        load_pipeline(tmp_path / "soft" / "model")[0](lq, num_inference_steps=1, crisp=0.5)
