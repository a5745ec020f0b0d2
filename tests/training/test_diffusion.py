"""The diffusion stages: their targets, what dropped conditions hide, and where gradients arrive."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from tiny_runs import tiny_refldm

from faceref.errors import UsageError
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.identity import MobileFaceNet
from faceref.models.unet import ReferenceUNet
from faceref.training.run import load_faces, train_from
from faceref.training.stages.components import identity_encoder_of, new_identity_encoder
from faceref.training.stages.configs import DiffusionConfig
from faceref.training.stages.diffusion import DiffusionStage

PREDICTIONS = ["epsilon", "v_prediction", "sample"]


def tiny_stage(
    stage: str = "refldm",
    with_recogniser: bool = True,
    identity_size: int | None = None,
    lq_residual: bool = False,
    **settings,
) -> DiffusionStage:
    torch.manual_seed(0)
    config = DiffusionConfig.model_validate(
        {
            "stage": stage,
            "data": {"sources": [{"root": "faces"}], "validation": [{"root": "faces"}], "resolution": 32},
            "autoencoder": "unused",
            "model": {"name": "tiny", "training_data": "none", "licence": "none"},
            "optimizer": {"learning_rate": 1e-3},
            "loop": {"steps": 1, "batch_size": 2, "precision": "no"},
            **settings,
        }
    )
    unet = ReferenceUNet(  # type: ignore[call-arg]
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=16,
        identity_size=identity_size,
        lq_residual=lq_residual,
    )
    vae = PixelUnshuffleVQModel(base_channels=32, residual_blocks=1)
    recogniser = MobileFaceNet().eval() if with_recogniser else None
    return DiffusionStage(config, unet, vae, recogniser, identity_encoder=identity_encoder_of(unet, None))


def latents() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "hq_latent": torch.randn(2, 4, 8, 8, generator=generator),
        "lq_latent": torch.randn(2, 4, 8, 8, generator=generator),
        "reference_latents": torch.randn(2, 2, 4, 8, 8, generator=generator),
        "mask": torch.ones(2, 1, 32, 32),
        "mask_latent": torch.ones(2, 1, 8, 8),
    }


def loss_of(stage: DiffusionStage, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return stage(batch, torch.Generator().manual_seed(2), 0, "model")[0]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_right_answer_gives_back_the_clean_latent(prediction: Literal["epsilon", "v_prediction", "sample"]):
    stage = tiny_stage(noise={"prediction_type": prediction})
    x0, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    timesteps = torch.tensor([10, 900])
    x_t = stage.scheduler.add_noise(x0, noise, timesteps)  # type: ignore[arg-type]
    answer = stage.target(x0, noise, timesteps)
    estimate = stage.estimate_x0(answer, x_t, timesteps)
    torch.testing.assert_close(estimate, x0, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("condition", ["lq_latent", "reference_latents"])
def test_a_dropped_condition_cannot_be_seen_and_a_kept_one_can(condition: str):
    changed = latents()
    changed[condition] = changed[condition] + 1
    dropping = tiny_stage(lq_dropout=1.0, reference_dropout=1.0, identity={"scaling": "none"})
    assert loss_of(dropping, latents()) == loss_of(dropping, changed)
    keeping = tiny_stage(lq_dropout=0.0, reference_dropout=0.0, identity={"scaling": "none"})
    assert loss_of(keeping, latents()) != loss_of(keeping, changed)


def test_a_person_without_other_photographs_is_trained_as_no_reference():
    stage = tiny_stage()
    picture = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
    items = {
        "hq": picture,
        "mask": torch.full((2, 1, 32, 32), 255, dtype=torch.uint8),
        "references": picture[:, None],
        "has_references": torch.tensor([True, False]),
        "coarse": torch.tensor([False, False]),
    }
    references = stage.make_batch(items, torch.Generator().manual_seed(0))["reference_latents"]
    assert references[0].abs().sum() > 0
    assert references[1].abs().sum() == 0


def test_at_the_last_timestep_of_a_zero_snr_schedule_the_truth_cannot_be_seen():
    noise = {"prediction_type": "sample", "zero_terminal_snr": True, "terminal_share": 1.0}
    stage = tiny_stage("ldm", with_recogniser=False, lq_dropout=1.0, noise=noise)
    seen = []
    stage.unet.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))
    for batch in (latents(), latents() | {"hq_latent": torch.zeros(2, 4, 8, 8)}):
        loss_of(stage, batch)
    (first, timesteps, _), (second, _, _) = seen
    assert timesteps.tolist() == [999, 999]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-3)


def test_the_lq_only_stage_never_looks_at_references():
    stage = tiny_stage("ldm", with_recogniser=False)
    changed = latents()
    changed["reference_latents"] = changed["reference_latents"] + 1
    assert loss_of(stage, latents()) == loss_of(stage, changed)


def test_padding_of_the_photograph_is_kept_out_of_the_loss():
    stage = tiny_stage("ldm", with_recogniser=False, lq_dropout=1.0)
    batch = latents()
    batch["mask_latent"] = torch.zeros_like(batch["mask_latent"])
    assert loss_of(stage, batch) == 0


def test_padding_of_the_photograph_is_kept_out_of_the_identity_loss():
    stage = tiny_stage(identity={"weight": 1.0, "scaling": "naive"})
    batch = latents()
    batch["mask_latent"] = torch.zeros_like(batch["mask_latent"])
    assert loss_of(stage, batch) > 0
    batch["mask"] = torch.zeros_like(batch["mask"])
    assert loss_of(stage, batch).item() == pytest.approx(0, abs=1e-6)


def test_jitter_compares_a_pair_moved_alike():
    stage = tiny_stage(identity={"weight": 1.0, "scaling": "naive", "jitter": True})
    x0 = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 1, 32, 32)

    def similarity(seed: int, estimate: torch.Tensor) -> torch.Tensor:
        return stage._identity_similarity(estimate, x0, mask, torch.Generator().manual_seed(seed))

    torch.testing.assert_close(similarity(0, x0), torch.ones(4))
    assert torch.equal(similarity(0, -x0), similarity(0, -x0))
    assert not torch.equal(similarity(0, -x0), similarity(1, -x0))


def test_the_identity_loss_reaches_the_network_through_the_frozen_decoder():
    stage = tiny_stage(identity={"weight": 1.0, "scaling": "naive"})
    batch = latents()
    batch["mask_latent"] = torch.zeros_like(batch["mask_latent"])  # leaves the identity loss alone
    loss_of(stage, batch).backward()
    gradient = stage.unet.conv_in.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    networks = [network for network in stage.frozen.values() if network is not None]
    assert len(networks) == 2  # the autoencoder and the recogniser
    assert all(p.grad is None for network in networks for p in network.parameters())


def test_only_the_network_is_trained_and_saved():
    stage = tiny_stage()
    assert {name.split(".")[0] for name in stage.state_dict()} == {"unet"}


def test_the_stage_without_references_has_the_identity_loss_only_if_it_is_set():
    batch = latents()
    plain, wanted = tiny_stage("ldm"), tiny_stage("ldm", identity={"scaling": "naive"})
    _, numbers = plain(batch, torch.Generator().manual_seed(2), 0, "model")
    assert set(numbers) == {"diffusion"}
    loss, numbers = wanted(batch, torch.Generator().manual_seed(2), 0, "model")
    assert numbers["identity"] > 0
    assert loss.item() == pytest.approx((numbers["diffusion"] + 0.1 * numbers["identity"]).item(), rel=1e-5)


def test_a_network_that_is_told_who_the_references_show_learns_to_heed_it():
    stage = tiny_stage(identity_size=128, reference_dropout=0.0, identity={"scaling": "none"})
    faces = torch.randint(0, 255, (2, 4, 3, 32, 32), dtype=torch.uint8)
    items = {
        "hq": faces[:, 0],
        "mask": torch.full((2, 1, 32, 32), 255, dtype=torch.uint8),
        "references": faces[:, 1:],
        "has_references": torch.tensor([True, False]),
        "coarse": torch.tensor([False, False]),
    }
    batch = stage.make_batch(items, torch.Generator().manual_seed(0))
    assert batch["identities"].shape == (2, 3, 128)
    assert batch["identities"][0].any()
    assert not batch["identities"][1].any(), "nobody is shown"
    loss_of(stage, batch).backward()
    gradient = stage.unet.identity.conv_out.weight.grad
    assert gradient is not None
    assert gradient.any()
    assert all(parameter.grad is None for parameter in stage.frozen["identity_encoder"].parameters())
    dropped = tiny_stage(identity_size=128, reference_dropout=1.0, identity={"scaling": "none"})
    dropped.unet.load_state_dict(stage.unet.state_dict())
    torch.nn.init.ones_(dropped.unet.identity.conv_out.weight)
    others = batch | {"identities": batch["identities"].flip(0)}
    assert loss_of(dropped, batch) == loss_of(dropped, others), "who is dropped is not told"
    assert dropped.pipeline().identity_encoder is not None


def test_a_unet_with_lq_residual_is_asked_for_the_clean_latent_only():
    assert tiny_stage(noise={"prediction_type": "sample"}, lq_residual=True).unet.config["lq_residual"]
    with pytest.raises(UsageError, match=r"set noise\.prediction_type to sample"):
        tiny_stage(lq_residual=True)


def test_another_noise_than_the_model_before_has_learnt_of_is_said(photographs: Path, tmp_path: Path, caplog):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    train_from(config, tmp_path / "before")
    config = config.model_copy(update={"initial": tmp_path / "before" / "model", "unet": {}})
    faces = load_faces(config.data, config.data.sources, config.data.split, config.loop.seed)
    caplog.clear()
    DiffusionStage.build(config, faces)
    assert not caplog.records
    other = config.noise.model_copy(update={"beta_end": 0.02})
    DiffusionStage.build(config.model_copy(update={"noise": other}), faces)
    assert "another noise (beta_end 0.0155, not 0.02)" in caplog.text
    caplog.clear()
    unet = tmp_path / "before" / "model" / "unet"
    DiffusionStage.build(config.model_copy(update={"noise": other, "initial": unet}), faces)
    assert "another noise (beta_end 0.0155, not 0.02)" in caplog.text, "of the model around the U-Net"


def test_who_tells_whom_references_show_is_that_of_the_model_the_stage_begins_from(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    sizes = {**config.unet, "sample_size": 8, "identity_size": 128}
    ReferenceUNet(**sizes).save_pretrained(tmp_path / "before" / "unet")
    config = config.model_copy(update={"initial": tmp_path / "before", "unet": {}})
    faces = load_faces(config.data, config.data.sources, config.data.split, config.loop.seed)
    shipped = new_identity_encoder()
    of_unet_alone = DiffusionStage.build(config, faces).frozen["identity_encoder"]
    assert torch.equal(of_unet_alone.centre, shipped.centre)
    trained_on = new_identity_encoder()
    trained_on.centre.add_(1)
    trained_on.save_pretrained(tmp_path / "before" / "identity_encoder")
    for initial in (tmp_path / "before", tmp_path / "before" / "unet"):
        begun = config.model_copy(update={"initial": initial})
        kept = DiffusionStage.build(begun, faces).pipeline().identity_encoder
        assert kept is not None
        assert torch.equal(kept.centre, trained_on.centre)


def test_latents_that_cannot_be_halved_as_often_as_the_unet_does_are_refused(photographs: Path, tmp_path: Path):
    tree = tiny_refldm(photographs, tmp_path, steps=1).model_dump(mode="json")
    tree["data"] |= {"resolution": 40}
    tree["unet"] |= {
        "block_out_channels": [32, 32, 32],
        "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    }
    with pytest.raises(UsageError, match=r"10 x 10 cannot be halved as often .* multiple of 4"):
        train_from(DiffusionConfig.model_validate(tree), tmp_path / "run")
