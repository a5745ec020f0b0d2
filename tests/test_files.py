"""Folders that are replaced whole or not at all."""

import os
from pathlib import Path

import pytest

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


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with replaced_folder(tmp_path / "model") as folder:
        (folder / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["model", "model/new"]
