"""`faceref train`: from settings to a model, and what it says of a wrong one (training: see tests/training)."""

import os
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from PIL import ImageOps

from faceref.data import decoded
from faceref.training.decisions import Decisions
from faceref.training.stages.vqgan import VQGANStage


@pytest.fixture
def config(tmp_path, astronaut):
    """A tiny autoencoder stage on four pictures."""
    (tmp_path / "data" / "faces" / "person").mkdir(parents=True)
    rows = ["file,person,split"]
    for i, split in enumerate(("train", "train", "val", "val")):
        portrait = astronaut.crop((140, 10, 310, 180)).resize((64, 64))
        (ImageOps.mirror(portrait) if i % 2 else portrait).save(tmp_path / "data" / "faces" / "person" / f"{i}.png")
        rows.append(f"person/{i}.png,person,{split}")
    (tmp_path / "data" / "faces" / "index.csv").write_text("\n".join(rows) + "\n")
    settings = {
        "stage": "vqgan",
        "data": {
            "root": str(tmp_path / "data"),
            "sources": [{"root": "faces"}],
            "validation": [{"root": "faces"}],
            "resolution": 32,
            "references": 0,
        },
        "autoencoder": {"kind": "pixel_unshuffle", "arguments": {"base_channels": 32, "codebook_size": 16}},
        "weights": {"perceptual": 0.0, "adversarial": 0.0, "codebook": 0.0},
        "optimizer": {"learning_rate": 1.0e-3},
        "loop": {"steps": 4, "batch_size": 2, "precision": "no", "validate_every": 2, "validation_samples": 2},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_what_comes_before_the_first_step_is_shown_until_then(faceref, config, monkeypatch):
    shown = []

    @contextmanager
    def showing(what: str, *_: str):
        shown.append(what)
        yield lambda done, total: shown.append(done)
        shown.append(f"no more {what}")

    monkeypatch.setattr("faceref.app.cli.train.working", showing)
    monkeypatch.setattr("faceref.app.cli.train.progress", showing)
    assert faceref("train", config, "loop.steps=1", "--run-dir", config.parent / "run").code == 0
    before, training = "Reading photographs and building networks", "training"
    told = [item for item in shown if isinstance(item, str)]
    assert told == [before, f"no more {before}", training, f"no more {training}"]
    assert shown[-2] == 1


def test_training_ends_with_a_model_in_the_folder_of_the_run(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    done = faceref("train", "tiny.yaml", "loop.steps=2")
    assert done.code == 0, done.errors
    assert done.output.startswith("step 2, finished; ")  # and no bar before it: that is for terminals
    run = config.parent / "runs" / "tiny"
    assert yaml.safe_load((run / "config.yaml").read_text())["loop"]["steps"] == 2
    assert (run / "model" / "diffusion_pytorch_model.safetensors").exists()


def test_a_run_that_has_finished_says_how_to_go_on(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    assert faceref("train", "tiny.yaml", "loop.steps=1").code == 0
    again = faceref("train", "tiny.yaml", "loop.steps=1", "--resume")
    assert (again.code, again.output) == (0, "step 1, finished before; to go on, give more loop.steps\n")


def test_a_run_that_was_stopped_before_it_logged_anything_is_to_be_resumed(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    stopped = faceref("train", "tiny.yaml", "loop.steps=9", "--max-minutes", "0")
    assert stopped.code == 0
    assert re.match(r"step 1, stopped; go on with --resume; \d", stopped.output.splitlines()[-1])


def test_one_of_several_processes_tells_how_it_ended(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    monkeypatch.setenv("RANK", "1")
    assert faceref("train", "tiny.yaml", "loop.steps=1").output == ""


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_too_little_memory_is_said_with_what_to_lower(faceref, config, error, monkeypatch):
    def too_large(*_):
        raise error

    monkeypatch.chdir(config.parent)
    monkeypatch.setattr(VQGANStage, "forward", too_large)
    failed = faceref("train", "tiny.yaml")
    assert failed.code == 1
    assert "too little memory for a step; lower loop.batch_size" in failed.errors
    assert "loop.pool.at_once where there is a pool" in failed.errors


def test_a_dry_run_writes_nothing(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    before = set(config.parent.rglob("*"))
    told = faceref("train", "tiny.yaml", "--dry-run")
    assert told.code == 0
    assert "GFLOP a sample" in told.output
    assert "Nothing was written" in told.output
    assert set(config.parent.rglob("*")) == before


def test_a_dry_run_says_that_it_fills_the_cache(faceref, config, monkeypatch):
    monkeypatch.chdir(config.parent)
    told = faceref("train", "tiny.yaml", "data.cache=cache", "--dry-run")
    assert "Only the decoded photographs were written, to cache" in " ".join(told.output.split())
    assert [path.suffix for path in Path("cache").iterdir()] == [".npy"] * 2


def test_sigterm_leaves_no_half_of_a_cache(faceref, config, monkeypatch):
    decode, signals = decoded.decode_face, [signal.SIGTERM]

    def ended_from_outside(path: Path, resolution: int):
        while signals:
            os.kill(os.getpid(), signals.pop())
        time.sleep(0.1)
        return decode(path, resolution)

    monkeypatch.chdir(config.parent)
    monkeypatch.setattr(decoded, "decode_face", ended_from_outside)
    with Decisions(torch.device("cpu"), 5.0, None).listening():  # who else would end with it
        told = faceref("train", "tiny.yaml", "data.cache=cache", "--dry-run")
    assert (told.code, told.errors) == (1, "Interrupted; no half-written picture or model was left behind.\n")
    assert not list(Path("cache").iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere.yaml"], 2, "nowhere.yaml"),
        (["tiny.yaml", "loop.stepps=3"], 2, "loop.stepps"),
        (["tiny.yaml", "loop.steps"], 2, "key=value"),
        (["tiny.yaml", "--resume"], 2, "resume"),
        (["tiny.yaml", "loop.seed=-1"], 2, "loop.seed"),
        (["tiny.yaml", "data.root=elsewhere"], 1, "elsewhere"),
        (["tiny.yaml", "--run-dir", "tiny.yaml/run"], 1, "tiny.yaml/run"),  # a file as a folder
    ],
)
def test_a_wrong_request_is_one_sentence(faceref, config, arguments, code, says, monkeypatch):
    monkeypatch.chdir(config.parent)
    failed = faceref("train", *arguments)
    assert failed.code == code
    assert "Traceback" not in failed.errors
    assert says in failed.errors.splitlines()[-1]
