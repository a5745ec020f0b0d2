"""LD-BFR's stages: who moves how far, what reaches what, and exact resuming."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import RATE, save_autoencoder
from tiny_runs import tiny_ldbfr as ldbfr
from tiny_runs import tiny_restoring as restoring_vq

from faceref.checkpoints.info import read_info
from faceref.errors import CheckpointError, UsageError
from faceref.models.autoencoder import AUTOENCODERS, PixelUnshuffleVQModel
from faceref.models.ldbfr import InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.models.loading import load_component
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.config_files import load_config
from faceref.training.run import train_from
from faceref.training.stages.configs import DiffusionConfig, LDBFRConfig, NoiseConfig
from faceref.training.stages.ldbfr import LDBFRStage, RestoringVQStage
from faceref.training.stages.vqgan import vq_model


def digest(folder: Path) -> str:
    tensors = {file: load_file(file) for file in sorted(folder.rglob("*.safetensors"))}
    return hashlib.sha256(b"".join(t.numpy().tobytes() for each in tensors.values() for t in each.values())).hexdigest()


def test_the_attention_moves_by_the_rate_the_encoder_by_its_share_and_the_decoder_not(
    photographs: Path, tmp_path: Path
):
    """Adam's first step moves each weight that has a gradient by the learning rate, whatever the gradient."""
    config = restoring_vq(photographs, tmp_path, steps=1, weights={"perceptual": 0.0, "adversarial_from": 0})
    train_from(config, tmp_path / "run")
    after = RestoringVQModel.from_pretrained(tmp_path / "run" / "model")
    with torch.random.fork_rng():
        torch.manual_seed(config.loop.seed)
        before = RestoringVQModel.from_autoencoder(
            load_component(config.autoencoder, AUTOENCODERS, "vae"), config.heads
        )

    def moved(a: torch.nn.Module, b: torch.nn.Module) -> float:
        return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))

    vq, new = vq_model(before.autoencoder), vq_model(after.autoencoder)
    assert moved(vq.decoder, new.decoder) == 0
    assert moved(vq.quantize, new.quantize) == 0
    assert moved(vq.post_quant_conv, new.post_quant_conv) == 0
    assert moved(vq.encoder, new.encoder) == pytest.approx(0.01 * RATE, rel=0.05)
    assert moved(vq.quant_conv, new.quant_conv) == pytest.approx(0.01 * RATE, rel=0.05)
    assert moved(before.attention, after.attention) == pytest.approx(RATE, rel=0.05)


def test_stage_1_decodes_the_bad_picture_and_is_judged_by_the_good_one(photographs: Path, tmp_path: Path):
    config = restoring_vq(photographs, tmp_path, steps=1, weights={"perceptual": 0.0, "codebook": 0.0})
    model = RestoringVQModel.from_autoencoder(load_component(config.autoencoder, AUTOENCODERS, "vae"))
    stage = RestoringVQStage(config, model, perceptual=None)
    lq, mask = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    restored = model(lq).sample.detach()
    generator = torch.Generator()
    for distance in (0.0, 0.25):
        loss, _ = stage({"lq": lq, "hq": restored + distance, "mask": mask}, generator, 0, "generator")
        assert loss.item() == pytest.approx(distance, abs=1e-5)
    with_lq_changed, _ = stage({"lq": -lq, "hq": restored, "mask": mask}, generator, 0, "generator")
    assert with_lq_changed > 0.001


@pytest.mark.parametrize("make", [restoring_vq, ldbfr])
def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, make):
    config = make(photographs, tmp_path, steps=3)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "halves", resume=True).finished
    assert digest(tmp_path / "straight" / "model") == digest(tmp_path / "halves" / "model")


def test_the_model_of_stage_2_restores(photographs: Path, tmp_path: Path):
    train_from(ldbfr(photographs, tmp_path, steps=1), tmp_path / "run")
    folder = tmp_path / "run" / "model"
    pipeline, info = LDBFRPipeline.from_pretrained(folder), read_info(folder)
    assert (info.family, info.name, info.resolution) == ("ldbfr", "tiny", 64)
    result = pipeline(
        torch.zeros(1, 3, 64, 64), num_inference_steps=2, latents=torch.zeros(1, 4, 16, 16), output_type="raw"
    )
    assert torch.as_tensor(result.images).isfinite().all()


def test_the_model_of_stage_2_is_sampled_as_the_released_code_samples(photographs: Path, tmp_path: Path):
    """latent-diffusion's make_ddim_timesteps("uniform"): range(0, 1000, 1000 // steps), plus one."""
    shipped = load_config(Path(__file__).parents[2] / "configs" / "ldbfr-256-ldm.yaml")
    assert isinstance(shipped, LDBFRConfig)
    train_from(ldbfr(photographs, tmp_path, steps=1, noise=shipped.noise), tmp_path / "run")
    scheduler = LDBFRPipeline.from_pretrained(tmp_path / "run" / "model").scheduler
    scheduler.set_timesteps(shipped.model.steps)
    assert scheduler.timesteps.tolist() == [timestep + 1 for timestep in reversed(range(0, 1000, 5))]
    assert scheduler.final_alpha_cumprod == scheduler.alphas_cumprod[0]
    with pytest.raises(ValueError, match="set timestep_spacing: trailing"):
        NoiseConfig(prediction_type="sample", zero_terminal_snr=True, timestep_spacing="leading")


def test_the_denoiser_is_told_what_to_restore_by_the_features_alone(photographs: Path, tmp_path: Path):
    config = ldbfr(photographs, tmp_path, steps=1)
    torch.manual_seed(0)
    unet = InjectedUNet(**config.unet)
    for name, weight in unet.named_parameters():  # injections begin at zero, as tests/models shows
        if "inject" in name:
            torch.nn.init.normal_(weight, std=0.1)
    vae = PixelUnshuffleVQModel.from_pretrained(config.autoencoder)
    stage = LDBFRStage(config, unet, vae, RestoringVQModel.from_pretrained(config.restoring), recogniser=None)
    batch = {
        name: torch.ones(2, *shape) for name, shape in {"hq_latent": (4, 16, 16), "mask_latent": (1, 16, 16)}.items()
    }
    batch |= {"features": torch.zeros(2, 16, 8, 8, requires_grad=True)}
    loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "model")
    (gradient,) = torch.autograd.grad(loss, batch["features"], retain_graph=True)
    assert gradient.abs().sum() > 0
    loss.backward()
    assert {name.split(".")[0] for name, weight in stage.named_parameters() if weight.grad is not None} == {"unet"}
    assert {name.split(".")[0] for name in stage.state_dict()} == {"unet"}


def test_refldm_may_begin_from_repaired_features(photographs: Path, tmp_path: Path):
    """First without references, then from that model with them."""
    blind = ldbfr(photographs, tmp_path, steps=1).model_dump()
    network = blind["unet"] | {"in_channels": 8}
    for own in ("feature_channels", "feature_size"):
        network.pop(own)
    shared = {key: blind[key] for key in ("data", "autoencoder", "restoring", "model", "optimizer", "loop")}
    lq_only = DiffusionConfig.model_validate(shared | {"stage": "ldm", "unet": network})
    train_from(lq_only, tmp_path / "ldm")
    photos = shared["data"] | {"references": 2}
    settings = {"stage": "refldm", "initial": tmp_path / "ldm" / "model", "identity": {"scaling": "none"}}
    config = DiffusionConfig.model_validate(shared | settings | {"data": photos})
    train_from(config, tmp_path / "run")
    pipeline = ReFLDMPipeline.from_pretrained(tmp_path / "run" / "model")
    assert isinstance(pipeline.unet, InjectedReferenceUNet)
    before = InjectedReferenceUNet.from_pretrained(tmp_path / "ldm" / "model" / "unet")
    moved = {
        name
        for (name, old), new in zip(before.named_parameters(), pipeline.unet.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert any("inject" in name for name in moved)
    with pytest.raises(UsageError, match="set restoring"):
        train_from(config.model_copy(update={"restoring": None}), tmp_path / "without")
    wide = PixelUnshuffleVQModel(patch_size=8, base_channels=32, latent_channels=32)
    RestoringVQModel.from_autoencoder(wide, heads=2).save_pretrained(tmp_path / "wide")
    with pytest.raises(UsageError, match="wide repairs 32 channels, but the U-Net takes 16"):
        train_from(config.model_copy(update={"restoring": tmp_path / "wide"}), tmp_path / "other")


def test_stage_1_needs_a_codebook(photographs: Path, tmp_path: Path):
    config = restoring_vq(photographs, tmp_path, steps=1, autoencoder=save_autoencoder(tmp_path / "continuous"))
    with pytest.raises(UsageError, match="quantize: true"):
        train_from(config, tmp_path / "run")


def test_stage_2_needs_stage_1(photographs: Path, tmp_path: Path):
    complaints = {
        "nowhere": "train the stage before",
        "second": "holds a PixelUnshuffleVQModel, not a Rest",
    }
    for folder, complaint in complaints.items():
        config = ldbfr(photographs, tmp_path, steps=1, restoring=tmp_path / folder)
        with pytest.raises(CheckpointError, match=f"{folder}.*{complaint}"):
            train_from(config, tmp_path / "run")
    config = ldbfr(photographs, tmp_path, steps=1)
    unet = config.unet | {"in_channels": 8, "out_channels": 8}
    with pytest.raises(UsageError, match=r"have 4 channels, but the U-Net makes 8: set unet.out_channels to 4"):
        train_from(config.model_copy(update={"unet": unet}), tmp_path / "run")
    with pytest.raises(UsageError, match=r"repairs 16 channels, but the U-Net takes 64"):
        train_from(config.model_copy(update={"unet": config.unet | {"feature_channels": 64}}), tmp_path / "run")


def test_latents_of_another_size_are_refused_before_anything_is_trained(photographs: Path, tmp_path: Path):
    config = ldbfr(photographs, tmp_path, steps=1)
    with pytest.raises(UsageError, match="are 16 x 16 for pictures of 64 px, and the U-Net is made for 32; set"):
        train_from(config.model_copy(update={"unet": config.unet | {"sample_size": 32}}), tmp_path / "run")
