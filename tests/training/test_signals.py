"""What ends a run from outside: Ctrl-C, what a cluster sends before it takes the machine away, a file that is gone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import digest, tiny_vqgan

from faceref.training.checkpoints import Checkpoints
from faceref.training.decisions import Decisions
from faceref.training.run import train_from
from faceref.training.stages.stage import Batch, Losses
from faceref.training.stages.vqgan import VQGANStage


def until_it_trains(run: Path) -> None:
    log = run / "faceref"
    for _ in range(2000):  # a busy machine takes a minute to import torch
        if log.exists() and any(path.stat().st_size > 2000 for path in log.rglob("events*")):
            return
        time.sleep(0.1)


def test_ctrl_c_ends_with_a_checkpoint_to_resume_from(photographs: Path, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(tiny_vqgan(photographs, steps=100_000).model_dump(mode="json")))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "faceref", "train", str(config), "--run-dir", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until_it_trains(run)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output
    left = {path.name for path in (run / "checkpoints").iterdir()} - {"best.json"}
    assert left
    assert all(name.startswith("step_") for name in left)
    assert (run / "model" / "config.json").exists()


def test_sigusr1_leaves_a_checkpoint_to_go_on_from_and_nothing_else(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a cluster sends before it takes the machine away."""
    forward = VQGANStage.forward

    def warned(stage: VQGANStage, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        if step == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return forward(stage, batch, generator, step, turn)

    config = tiny_vqgan(photographs, steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(VQGANStage, "forward", warned)
        summary = train_from(config, tmp_path / "run")
    assert (summary.step, summary.finished, summary.requeue) == (2, False, True)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [2]
    assert not (tmp_path / "run" / "model").exists()
    assert not train_from(config, tmp_path / "run", resume=True).requeue
    train_from(config, tmp_path / "straight")
    assert digest(tmp_path / "run") == digest(tmp_path / "straight")


def test_the_same_in_the_last_step_is_the_end_of_the_run(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    forward = VQGANStage.forward

    def warned(stage: VQGANStage, batch: Batch, generator: torch.Generator, step: int, turn: str) -> Losses:
        os.kill(os.getpid(), signal.SIGUSR1)
        return forward(stage, batch, generator, step, turn)

    monkeypatch.setattr(VQGANStage, "forward", warned)
    with Decisions(torch.device("cpu"), 5.0, None).listening():  # in the step that is measured before, too
        summary = train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")
    assert (summary.finished, summary.requeue) == (True, False)
    assert (tmp_path / "run" / "model" / "config.json").exists()


def test_while_the_model_is_written_signals_end_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    export = VQGANStage.export

    def warned(stage: VQGANStage, folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        export(stage, folder)

    monkeypatch.setattr(VQGANStage, "export", warned)
    around = Decisions(torch.device("cpu"), 5.0, None)
    with around.listening():
        summary = train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")
    assert not around.received
    assert (summary.finished, summary.requeue) == (True, False)
    assert (tmp_path / "run" / "model" / "config.json").exists()


def test_signals_to_all_processes_are_left_to_the_one_that_trains(photographs: Path, tmp_path: Path):
    tree = tiny_vqgan(photographs, steps=100_000).model_dump(mode="json")
    tree["data"]["workers"] = 1
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(json.dumps(tree))
    command = [sys.executable, "-m", "faceref", "train", str(config), "--run-dir", str(run)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until_it_trains(run)
    os.killpg(process.pid, signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert Checkpoints(run / "checkpoints").steps()


def test_a_photograph_that_is_gone_is_one_sentence_whoever_reads_it(photographs: Path, tmp_path: Path):
    """The process that reads it ignores what ends processes, and ends all the same."""
    shutil.copytree(photographs, tmp_path / "photographs")
    tree = tiny_vqgan(tmp_path / "photographs", steps=100_000).model_dump(mode="json")
    tree["data"] |= {"workers": 1, "memory_gb": 0}
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(json.dumps(tree))
    command = [sys.executable, "-m", "faceref", "train", str(config), "--run-dir", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until_it_trains(run)
    for path in (tmp_path / "photographs").rglob("*.png"):
        path.unlink()
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in output
    assert output.splitlines()[-1].endswith(".png does not exist; check the name.")
