"""The loop: resuming is exact, stopping loses nothing, several processes share one stream of samples."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS, PixelUnshuffleVQModel
from faceref.models.identity import MobileFaceNet
from faceref.models.loading import load_component
from faceref.models.mechanisms import MECHANISMS
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.training.optimizer import learning_rate
from faceref.training.run import train_from
from faceref.training.stages.configs import DiffusionConfig, VQGANConfig
from faceref.training.stages.stage import Batch, Losses
from faceref.training.stages.vqgan import VQGANStage


def tiny_vqgan(photographs: Path, steps: int, **loop) -> VQGANConfig:
    """An autoencoder of a few thousand parameters, with its discriminator from the third step on."""
    return VQGANConfig.model_validate(
        {
            "stage": "vqgan",
            "data": {
                "root": str(photographs),
                "sources": [{"root": "faces"}],
                "validation": [{"root": "faces"}],
                "resolution": 32,
                "references": 0,
            },
            "autoencoder": {"kind": "pixel_unshuffle", "arguments": {"base_channels": 32}},
            "weights": {"perceptual": 0.0, "adversarial_from": 2},
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2, "final_ratio": 0.1},
            "loop": {"steps": steps, "batch_size": 3, "precision": "no", "validate_every": 1000, "log_every": 1} | loop,
        }
    )


def tiny_refldm(photographs: Path, folder: Path, steps: int) -> DiffusionConfig:
    """A U-Net of a few thousand parameters with references and the identity loss; its frozen networks lie in folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PixelUnshuffleVQModel(base_channels=32).save_pretrained(folder / "vae")
        save_file(MobileFaceNet().state_dict(), folder / "recogniser.safetensors")
    config = tiny_vqgan(photographs, steps, validate_every=2, validation_samples=2)
    return DiffusionConfig.model_validate(
        {
            "stage": "refldm",
            "data": config.data.model_dump() | {"references": 2},
            "autoencoder": folder / "vae",
            "recogniser": folder / "recogniser.safetensors",
            "unet": {
                "in_channels": 8,
                "out_channels": 4,
                "block_out_channels": [32, 32],
                "layers_per_block": 1,
                "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
                "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
                "attention_head_dim": 16,
            },
            "model": {"name": "tiny", "training_data": "none", "licence": "none", "steps": 1},
            "optimizer": config.optimizer,
            "loop": config.loop,
        }
    )


def digest(folder: Path) -> str:
    unet = folder / "model" / "unet"
    tensors = load_file((unet if unet.is_dir() else folder / "model") / "diffusion_pytorch_model.safetensors")
    return hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_three_stops_and_a_finish_are_one_straight_run_to_the_bit(photographs: Path, tmp_path: Path, accumulate: int):
    config = tiny_vqgan(photographs, steps=12, accumulate=accumulate)
    assert train_from(config, tmp_path / "straight").finished
    for step in (1, 2, 3):  # each stops after one step; the third is the discriminator's first
        part = train_from(config, tmp_path / "halves", max_minutes=0, resume=step > 1)
        assert (part.step, part.finished) == (step, False)
    second = train_from(config, tmp_path / "halves", resume=True)
    assert (second.step, second.finished) == (12, True)
    assert digest(tmp_path / "straight") == digest(tmp_path / "halves")


def test_a_codebook_that_begins_as_k_means_is_in_use_and_resumes_to_the_bit(photographs: Path, tmp_path: Path):
    arguments = {"base_channels": 32, "codebook_size": 16, "quantize": True}
    weights = {"perceptual": 0.0, "adversarial_from": 1000}
    tree = tiny_vqgan(photographs, steps=4).model_dump(mode="json") | {"weights": weights}
    with pytest.raises(UsageError, match="quantize_from is for an autoencoder with a codebook"):
        train_from(VQGANConfig.model_validate(tree | {"quantize_from": 2}), tmp_path / "continuous")
    tree["autoencoder"]["arguments"] = arguments
    config = VQGANConfig.model_validate(tree | {"quantize_from": 2})
    straight = train_from(config, tmp_path / "straight")
    assert straight.metrics["codes"] >= 12  # of 16
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
    restored = pipeline(lq, [references], guidance=1.5, steps=1, latents=noise, output_type="pt").images
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


def test_a_run_leaves_what_people_look_for(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=2, validate_every=1), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "checkpoints", "samples", "model", "validation.jsonl", "tensorboard"} <= names
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 2
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert steps == [1, 2]


def test_training_learns(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=60, ema_decay=0.5)
    start = train_from(tiny_vqgan(photographs, steps=1), tmp_path / "start").metrics["psnr"]
    end = train_from(config, tmp_path / "end").metrics["psnr"]
    assert end > start + 3  # dB


def test_exported_latents_have_mean_0_and_deviation_1(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")
    (weights,) = (tmp_path / "run" / "model").glob("*.safetensors")
    assert weights.stat().st_mode & 0o777 == weights.parent.stat().st_mode & 0o666, "others may use the model"
    from faceref.data.dataset import FaceDataset, FaceSource

    faces = FaceDataset([FaceSource(root=photographs / "faces")], "train", 32, seed=0).photographs
    with torch.no_grad():
        vae = load_component(tmp_path / "run" / "model", AUTOENCODERS, "vae")
        latents = vae.encode(torch.from_numpy(faces[:, :3]).float() / 127.5 - 1).latents
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


def test_a_folder_with_a_run_is_not_overwritten(photographs: Path, tmp_path: Path):
    config = tiny_vqgan(photographs, steps=1)
    train_from(config, tmp_path / "run")
    with pytest.raises(UsageError, match="--resume"):
        train_from(config, tmp_path / "run")
    with pytest.raises(UsageError, match="no checkpoint"):
        train_from(config, tmp_path / "other", resume=True)


def test_a_dry_run_counts_the_work_and_writes_nothing(photographs: Path, tmp_path: Path):
    summary = train_from(tiny_vqgan(photographs, steps=5), tmp_path / "run", dry_run=True)
    assert summary.gigaflops_per_sample > 0
    assert not (tmp_path / "run").exists()


def test_ctrl_c_ends_with_a_checkpoint_to_resume_from(photographs: Path, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(tiny_vqgan(photographs, steps=100_000).model_dump(mode="json")))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "faceref", "train", str(config), "--run-dir", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = run / "tensorboard"
    for _ in range(2000):  # a busy machine takes a minute to import torch
        if log.exists() and any(path.stat().st_size > 2000 for path in log.rglob("events*")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    assert all(path.name.startswith("step_") for path in (run / "checkpoints").iterdir())
    assert any((run / "checkpoints").iterdir())
    assert (run / "model" / "config.json").exists()


def test_two_processes_train_one_model(photographs: Path, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(tiny_vqgan(photographs, steps=4).model_dump(mode="json")))
    run = tmp_path / "run"
    # what `accelerate launch` starts for several GPUs; on CPUs it would want MPI
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "faceref", "train", str(config), "--run-dir", str(run)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (run / "checkpoints" / "step_00000004").is_dir()
    # both processes' samples count: a run of one process with the same seed comes out differently
    train_from(tiny_vqgan(photographs, steps=4), tmp_path / "alone")
    assert digest(run) != digest(tmp_path / "alone")


def test_the_learning_rate_warms_up_and_falls_to_its_last_share(photographs: Path):
    config = tiny_vqgan(photographs, steps=102).optimizer
    assert learning_rate(config, 0, 102) == pytest.approx(0.5e-3)
    assert learning_rate(config, 2, 102) == pytest.approx(1e-3)
    assert learning_rate(config, 52, 102) == pytest.approx(0.55e-3)
    assert learning_rate(config, 102, 102) == pytest.approx(1e-4)
