"""The loop: resuming is exact, stopping loses nothing, several processes share one stream of samples."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import digest, tiny_refldm, tiny_vqgan

from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS
from faceref.models.loading import load_component
from faceref.models.mechanisms import MECHANISMS
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.checkpoints import Checkpoints
from faceref.training.export import export_step
from faceref.training.loop import make_accelerator
from faceref.training.optimizer import learning_rate
from faceref.training.run import load_faces, train_from
from faceref.training.stages.configs import VQGANConfig
from faceref.training.stages.stage import Batch, Losses
from faceref.training.stages.vqgan import VQGANStage


@pytest.mark.parametrize("accumulate", [1, 2])
def test_three_stops_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, accumulate: int):
    config = tiny_vqgan(photographs, steps=12, accumulate=accumulate)
    assert train_from(config, tmp_path / "straight").finished
    for step in (1, 2, 3):  # each stops after one step; the third is the discriminator's first
        part = train_from(config, tmp_path / "halves", max_minutes=0, resume=step > 1)
        assert (part.step, part.finished) == (step, False)
        assert part.metrics["psnr"] > 0
    second = train_from(config, tmp_path / "halves", resume=True)
    assert (second.step, second.finished) == (12, True)
    assert digest(tmp_path / "straight") == digest(tmp_path / "halves")
    for results in ("validation.jsonl", "checkpoints/best.json"):
        one, other = ((tmp_path / run / results).read_text() for run in ("straight", "halves"))
        assert one == other, "what is measured at a stop does not count"


def test_a_codebook_that_begins_as_k_means_is_in_use_and_resumes_to_the_bit(photographs: Path, tmp_path: Path):
    arguments = {"base_channels": 32, "codebook_size": 16, "quantize": True}
    weights = {"perceptual": 0.0, "adversarial_from": 1000}
    tree = tiny_vqgan(photographs, steps=4).model_dump(mode="json") | {"weights": weights}
    with pytest.raises(UsageError, match="quantize_from is for an autoencoder with a codebook"):
        train_from(VQGANConfig.model_validate(tree | {"quantize_from": 2}), tmp_path / "continuous")
    tree["autoencoder"]["arguments"] = arguments
    validated = {"loop": tree["loop"] | {"validate_every": 1}}
    config = VQGANConfig.model_validate(tree | {"quantize_from": 2} | validated)
    straight = train_from(config, tmp_path / "straight")
    assert straight.metrics["codes"] >= 12  # of 16
    best = Checkpoints(tmp_path / "straight" / "checkpoints").best()
    assert best is not None
    assert best.step > 2, "what is decoded without the codebook is nearer, and no better"
    random = train_from(VQGANConfig.model_validate(tree), tmp_path / "random")
    assert random.metrics["codes"] < straight.metrics["codes"]
    for step in (1, 2, 3):  # the third step is the codebook's first
        train_from(config, tmp_path / "parts", max_minutes=0, resume=step > 1)
    for _ in range(2):  # a run that has finished leaves its codebook alone
        assert train_from(config, tmp_path / "parts", resume=True).finished
        assert digest(tmp_path / "straight") == digest(tmp_path / "parts")


def test_a_stage_with_references_resumes_to_the_bit(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=4)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "halves", resume=True).finished
    assert digest(tmp_path / "straight") == digest(tmp_path / "halves")


def test_photographs_are_the_same_whoever_decodes_them(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=2)
    for workers in (0, 1):
        data = config.data.model_copy(update={"workers": workers})
        train_from(config.model_copy(update={"data": data}), tmp_path / str(workers))
    assert digest(tmp_path / "0") == digest(tmp_path / "1")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_mechanism_trains_from_one_lq_only_model_to_a_model_that_restores(
    photographs: Path, tmp_path: Path, mechanism: str
):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    ReferenceUNet(**config.unet).save_pretrained(tmp_path / "lq-only" / "unet")
    config = config.model_copy(update={"initial": tmp_path / "lq-only", "mechanism": mechanism, "unet": {}})
    train_from(config, tmp_path / "run")
    pipeline, _ = load_pipeline(tmp_path / "run" / "model")
    assert isinstance(pipeline, ReFLDMPipeline)
    assert type(pipeline.unet) is MECHANISMS[mechanism]
    lq, references, noise = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32), torch.zeros(1, 4, 8, 8)
    restored = pipeline(
        lq, [references], guidance_scale=1.5, num_inference_steps=1, latents=noise, output_type="raw"
    ).images
    assert torch.as_tensor(restored).isfinite().all()


def test_a_longer_run_than_was_meant_gets_its_discriminator(photographs: Path, tmp_path: Path):
    """The first run ends before the discriminator's first step; the rate stays the same however long the run is."""

    def config(steps: int) -> VQGANConfig:
        short = tiny_vqgan(photographs, steps).model_dump(mode="json")
        return VQGANConfig.model_validate(short | {"optimizer": {"learning_rate": 1e-3}})

    assert train_from(config(1), tmp_path / "longer").finished
    assert train_from(config(4), tmp_path / "longer", resume=True).finished
    assert train_from(config(4), tmp_path / "straight").finished
    assert digest(tmp_path / "longer") == digest(tmp_path / "straight")


def test_neither_side_of_a_gan_moves_by_what_the_other_left_behind(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The autoencoder's adversarial loss leaves gradients in the discriminator, too; they must not be used."""
    left_behind = []
    forward = VQGANStage.forward

    def spy(stage: VQGANStage, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        left_behind.extend(p.grad for module in stage.trainable(turn) for p in module.parameters())
        return forward(stage, batch, generator, step, turn)

    monkeypatch.setattr(VQGANStage, "forward", spy)
    train_from(tiny_vqgan(photographs, steps=4), tmp_path / "run")
    assert left_behind
    assert all(gradient is None for gradient in left_behind)


def test_another_seed_is_another_model(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=1, seed=1), tmp_path / "one")
    train_from(tiny_vqgan(photographs, steps=1, seed=2), tmp_path / "two")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_run_of_weights_and_biases_has_the_folders_name_and_all_settings(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = {}
    monkeypatch.setattr(Accelerator, "init_trackers", lambda *_, init_kwargs: given.update(init_kwargs["wandb"]))
    config = tiny_vqgan(photographs, steps=1)
    train_from(config, tmp_path / "run")
    assert given == {"name": "run", "dir": str(tmp_path / "run"), "config": config.model_dump(mode="json")}


def test_a_run_leaves_what_people_look_for(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=2, validate_every=1), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "checkpoints", "samples", "model", "validation.jsonl", "faceref", "starts.jsonl"} <= names
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 2
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert steps == [1, 2]


def test_training_learns(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=30, ema_decay=0.5)
    start = train_from(tiny_vqgan(photographs, steps=1), tmp_path / "start").metrics["psnr"]
    end = train_from(config, tmp_path / "end").metrics["psnr"]
    assert end > start + 3  # dB


def test_exported_latents_have_mean_0_and_deviation_1(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")
    (weights,) = (tmp_path / "run" / "model").glob("*.safetensors")
    assert weights.stat().st_mode & 0o777 == weights.parent.stat().st_mode & 0o666, "others may use the model"
    from faceref.data.dataset import FaceDataset, FaceSource

    faces = FaceDataset([FaceSource(root=photographs / "faces")], "train", 32, seed=0).photographs
    faces = faces.take(range(len(faces)))
    with torch.no_grad():
        vae = load_component(tmp_path / "run" / "model", AUTOENCODERS, "vae")
        latents = vae.encode(torch.from_numpy(faces[:, :3]).float() / 127.5 - 1).latents
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


def test_a_folder_with_a_run_is_not_overwritten(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=1)
    train_from(config, tmp_path / "run")
    with pytest.raises(UsageError, match="already holds a run at step 1; resume it"):
        train_from(config, tmp_path / "run")
    with pytest.raises(UsageError, match="no checkpoint"):
        train_from(config, tmp_path / "other", resume=True)


def test_a_dry_run_counts_the_work_and_writes_nothing(photographs: Path, tmp_path: Path, counted: None):
    summary = train_from(tiny_vqgan(photographs, steps=5), tmp_path / "run", dry_run=True)
    assert summary.gigaflops_per_sample > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("at_once", [2, 6])
def test_a_dry_run_makes_as_many_samples_at_once_as_the_run(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, counted: None
):
    make, forward, made, trained = VQGANStage.make_batch, VQGANStage.forward, set(), set()

    def spy_on_making(stage: VQGANStage, items: Batch, generator: torch.Generator) -> Batch:
        made.add(len(items["hq"]))
        return make(stage, items, generator)

    def spy_on_training(stage: VQGANStage, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        trained.add(len(batch["hq"]))
        return forward(stage, batch, generator, step, turn)

    monkeypatch.setattr(VQGANStage, "make_batch", spy_on_making)
    monkeypatch.setattr(VQGANStage, "forward", spy_on_training)
    config = tiny_vqgan(photographs, steps=1, pool={"samples": 6, "at_once": at_once, "visits": 2})
    assert train_from(config, tmp_path / "run", dry_run=True).gigaflops_per_sample > 0
    assert (made, trained) == ({at_once}, {3})


def test_damaged_photographs_calibrate_nothing(photographs: Path, tmp_path: Path):
    root = shutil.copytree(photographs, tmp_path / "photographs")
    (root / "faces" / "ada" / "0.png").write_text("no picture")
    tree = tiny_vqgan(root, steps=1).model_dump(mode="json")
    tree["data"]["skip_damaged"] = True
    assert train_from(VQGANConfig.model_validate(tree), tmp_path / "run").finished


def test_a_run_does_not_go_on_without_photographs_that_it_was_begun_with(photographs: Path, tmp_path: Path):
    root = shutil.copytree(photographs, tmp_path / "photographs")
    tree = tiny_vqgan(root, steps=3).model_dump(mode="json")
    tree["data"]["skip_damaged"] = True
    config = VQGANConfig.model_validate(tree)
    train_from(config, tmp_path / "run", max_minutes=0)
    whole = (root / "faces" / "ada" / "0.png").read_bytes()
    (root / "faces" / "ada" / "0.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"other targets or references in data\.sources"):
        train_from(config, tmp_path / "run", resume=True)
    (root / "faces" / "ada" / "0.png").write_bytes(whole)
    assert train_from(config, tmp_path / "run", resume=True).finished


def test_a_launcher_that_starts_one_process_instead_of_many_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog, photographs
):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # what `accelerate launch --cpu --num_processes 2` sets
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    make_accelerator(tiny_vqgan(photographs, steps=1).loop, None)
    assert "torchrun" in caplog.text


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_decoded(photographs: Path, tmp_path, monkeypatch):
    monkeypatch.setattr("faceref.training.loop.find_spec", lambda name: None if name == "wandb" else object())
    config = tiny_vqgan(photographs, steps=1, trackers=["tensorboard", "wandb"])
    with pytest.raises(UsageError, match=r"wandb is not installed; pip install wandb, or leave it out"):
        train_from(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gradients_may_be_computed_from_recomputed_activations(photographs: Path, tmp_path: Path):
    plain = tiny_refldm(photographs, tmp_path, steps=2)
    saving = plain.model_copy(update={"loop": plain.loop.model_copy(update={"gradient_checkpointing": True})})
    train_from(plain, tmp_path / "plain")
    train_from(saving, tmp_path / "saving")
    one, other = (load_pipeline(tmp_path / run / "model")[0].unet.state_dict() for run in ("plain", "saving"))
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, atol=1e-5, rtol=1e-4)
    with pytest.raises(UsageError, match="no network here knows of any"):
        train_from(tiny_vqgan(photographs, steps=1, gradient_checkpointing=True), tmp_path / "other")


def test_any_checkpoint_that_was_kept_becomes_a_model(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=4, milestones=[2], validate_every=4)
    train_from(config, tmp_path / "run")
    export_step(tmp_path / "run", 4, tmp_path / "again" / "model")
    assert digest(tmp_path / "again") == digest(tmp_path / "run")
    export_step(tmp_path / "run", 2, tmp_path / "before" / "model")
    assert digest(tmp_path / "before") != digest(tmp_path / "run")
    assert export_step(tmp_path / "run", None, tmp_path / "best" / "model") == 4
    with pytest.raises(UsageError, match="no checkpoint of step 3; it has 2, 4"):
        export_step(tmp_path / "run", 3, tmp_path / "none" / "model")


def test_the_learning_rate_warms_up_and_falls_to_its_last_share(photographs: Path):
    config = tiny_vqgan(photographs, steps=102).optimizer
    assert learning_rate(config, 0, 102) == pytest.approx(0.5e-3)
    assert learning_rate(config, 2, 102) == pytest.approx(1e-3)
    assert learning_rate(config, 52, 102) == pytest.approx(0.55e-3)
    assert learning_rate(config, 102, 102) == pytest.approx(1e-4)


def test_what_is_said_of_a_source_holds_for_its_photographs(photographs: Path):
    config = tiny_vqgan(photographs, steps=1).data
    for coarse in (False, True):
        source = config.sources[0].model_copy(update={"coarse": coarse})
        faces = load_faces(config, (source,), "train", seed=0)
        assert set(faces.coarse) == {coarse}
