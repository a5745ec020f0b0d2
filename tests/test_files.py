"""Folders that are replaced whole or not at all."""

import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from faceref.errors import OutputError
from faceref.files import replaced_folder


def test_a_folder_that_cannot_be_put_in_its_place_leaves_the_old_one(tmp_path: Path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    replace = os.replace

    def failing(source, target):
        if Path(source).name == "new":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="the disk is full"), replaced_folder(tmp_path / "model") as folder:
        (folder / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/old"]


@pytest.mark.parametrize("after", ["model", "new"])
def test_ctrl_c_between_both_leaves_one_of_them(after: str, tmp_path: Path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        if Path(source).name == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replaced_folder(tmp_path / "model") as folder:
        (folder / "new").touch()
    left = "old" if after == "model" else "new"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", f"model/{left}"]


def test_a_full_disk_is_called_that_where_safetensors_finds_it(tmp_path: Path):
    with pytest.raises(OutputError, match="the disk is full; free some space"), replaced_folder(tmp_path / "model"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with replaced_folder(tmp_path / "model") as folder:
        (folder / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/new"]
