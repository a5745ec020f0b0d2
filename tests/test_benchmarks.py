"""Programs under benchmarks/ that need neither photographs nor hours print the tables that the documents name."""

import runpy
import shutil
import sys
from pathlib import Path

import torch

from faceref.checkpoints.store import load_pipeline, save_model
from faceref.models.low_rank import FILE

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_change_of_a_changed_model_is_of_the_same_weights(tiny_model: Path, tmp_path: Path, monkeypatch):
    """What ships is learnt on: the second change takes the first one's place, and holds both."""

    def learnt_on() -> tuple[torch.Tensor, torch.Tensor]:
        pipeline, info = load_pipeline(tmp_path / "shipped")
        weights = pipeline.unet.state_dict()
        weights["conv_out.bias"].add_(0.1)
        weights["conv_in.weight"].add_(0.1)  # of rank 1
        save_model(pipeline, info, tmp_path / "trained")
        return weights["conv_out.bias"], weights["conv_in.weight"]

    shutil.copytree(tiny_model, tmp_path / "shipped")
    of = ["low_rank_change.py", str(tmp_path / "trained"), str(tmp_path / "shipped"), "--rank", "1"]
    for number in ("first", "second"):
        expected = learnt_on()
        monkeypatch.setattr(sys, "argv", [*of, "-o", str(tmp_path / number)])
        runpy.run_path(str(BENCHMARKS / "low_rank_change.py"))["main"]()
        shutil.rmtree(tmp_path / "trained")
        (change,) = (tmp_path / number).rglob("*.safetensors")
        assert change == tmp_path / number / "unet" / FILE
        shutil.copy(change, tmp_path / "shipped" / "unet")
        unet = load_pipeline(tmp_path / "shipped")[0].unet
        for name, value in zip(("conv_out.bias", "conv_in.weight"), expected, strict=True):
            torch.testing.assert_close(unet.state_dict()[name], value, rtol=0, atol=2e-3)


def test_a_step_on_pixels_is_timed_beside_one_on_latents(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pixel_space.py", str(tiny_model)])
    monkeypatch.setenv("COLUMNS", "200")
    runpy.run_path(str(BENCHMARKS / "pixel_space.py"))["main"]()
    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [("latents", "16x16"), ("pixels", "64x64")]
    assert 0 < float(rows[0][3]) < float(rows[1][3])
