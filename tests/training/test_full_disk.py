"""A disk that is full, and what is left of a writing that was cut off."""

import errno
import json
from pathlib import Path

import pytest
from accelerate import Accelerator
from PIL import Image
from tiny_runs import tiny_vqgan

from faceref.errors import OutputError, UsageError
from faceref.training.run import train_from
from faceref.training.run_folder import STARTS


def test_where_curves_find_no_room_the_folder_is_named(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def on_a_full_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Accelerator, "log", on_a_full_disk)
    with pytest.raises(OutputError, match=f"{tmp_path / 'run'} cannot be written because the disk is full"):
        train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")


def test_an_interrupted_picture_of_samples_is_not_left(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def cut_off(picture: Image.Image, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_from(tiny_vqgan(photographs, steps=1), tmp_path / "run")
    assert not list((tmp_path / "run" / "samples").iterdir())


def test_a_line_that_was_cut_off_hides_no_start(photographs: Path, tmp_path: Path):
    run, config = tmp_path / "run", tiny_vqgan(photographs, steps=2)
    train_from(config, run, max_minutes=0)
    starts = run / STARTS
    whole = json.loads(starts.read_text())
    whole["made_of"] = {name: "another" for name in whole["made_of"]}
    starts.write_text(json.dumps(whole) + '\n{"time": "2026-1')
    with pytest.raises(UsageError, match="was begun with other targets"):
        train_from(config, run, resume=True)
    starts.write_text('{"time": "2026-1')
    assert train_from(config, run, resume=True).finished
    assert json.loads(starts.read_text().splitlines()[-1])["step"] == 1
