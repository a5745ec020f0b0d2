"""The command as a person runs it, without the seconds that a new process needs to import torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceref.app.cli.main import app


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed where."""

    code: int
    output: str
    errors: str


@pytest.fixture
def faceref(capsys, monkeypatch) -> Callable[..., Outcome]:
    """`faceref(*arguments)`, in this process, as the console script calls it."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments], prog_name="faceref")
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def restore(faceref, tiny_model):
    """`faceref restore` with the tiny model; the photographs come first, and are restored although they are good."""
    return lambda *arguments: faceref("restore", *arguments, "--model", tiny_model, "--always")


@pytest.fixture
def album(tmp_path, portrait) -> Path:
    """A folder with photo.jpg and references/new.jpg."""
    (tmp_path / "references").mkdir()
    portrait.save(tmp_path / "photo.jpg", quality=95)
    ImageOps.mirror(portrait).save(tmp_path / "references" / "new.jpg", quality=95)
    return tmp_path


@pytest.fixture
def wall(album) -> Path:
    """A photograph without a face."""
    Image.new("RGB", (200, 200), "gray").save(album / "wall.png")
    return album / "wall.png"


@pytest.fixture
def half_a_meadow(album) -> Path:
    """A photograph without a face, and a file without its second half."""
    path = album / "meadow.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path
