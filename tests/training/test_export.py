"""`faceref models export RUN@STEP`: the model of any checkpoint that a run has kept."""

from pathlib import Path

import pytest
from tiny_runs import digest, same_weights, tiny_refldm, tiny_vqgan
from typer.testing import CliRunner

from faceref.app.cli.main import app
from faceref.checkpoints.info import read_info
from faceref.training.run import train_from


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps, of which the first is kept beside the last."""
    folder = tmp_path_factory.mktemp("export")
    config = tiny_refldm(photographs, folder, steps=2)
    train_from(config.model_copy(update={"loop": config.loop.model_copy(update={"milestones": (1,)})}), folder / "run")
    return folder / "run"


def export(model: str, out: Path):
    return CliRunner().invoke(app, ["models", "export", str(model), "-o", str(out), "--precision", "fp32"])


def test_a_step_becomes_a_model_as_the_run_would_have_left_it(run: Path, tmp_path: Path):
    for step in ("1", "2", "best"):
        assert export(f"{run}@{step}", tmp_path / step / "model").exit_code == 0
        assert read_info(tmp_path / step / "model").name == "tiny"
    assert digest(tmp_path / "2") == digest(tmp_path / "best") == digest(run)
    assert digest(tmp_path / "1") != digest(run)


def test_an_autoencoders_step_becomes_what_the_next_stage_is_given(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=2), tmp_path / "run")
    exported = export(f"{tmp_path / 'run'}@2", tmp_path / "vae")
    assert exported.exit_code == 0, exported.stderr
    assert "PixelUnshuffleVQModel" in exported.stdout
    assert same_weights(tmp_path / "vae", tmp_path / "run" / "model")
    refused = CliRunner().invoke(app, ["models", "export", f"{tmp_path / 'run'}@2", "-o", "x", "--blind", "small"])
    assert refused.exit_code == 2
    assert "leave --blind out" in refused.stderr


def test_a_step_to_be_kept_stays_though_the_run_goes_on_without_that_setting(photographs: Path, tmp_path: Path):
    train_from(tiny_vqgan(photographs, steps=3, milestones=[1]), tmp_path / "run")
    for steps in (4, 5, 6):
        train_from(tiny_vqgan(photographs, steps=steps), tmp_path / "run", resume=True)
    assert export(f"{tmp_path / 'run'}@1", tmp_path / "vae").exit_code == 0
    assert not (tmp_path / "run" / "checkpoints" / "step_00000004").exists()


@pytest.mark.parametrize(
    ("step", "sentence"),
    [("7", "has no checkpoint of step 7; it has 1, 2."), ("last", "is no step of a run; write RUN@1000, or RUN@best.")],
)
def test_a_step_that_was_not_kept_is_one_sentence(run: Path, tmp_path: Path, step: str, sentence: str):
    refused = export(f"{run}@{step}", tmp_path / "model")
    assert refused.exit_code == 2
    assert refused.stderr.endswith(f"{sentence}\n")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()
