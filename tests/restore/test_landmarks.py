"""A restoration with landmarks on free terms never opens dlib's, from the references to the result."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from faceref import RestoreOptions, Restorer
from faceref.app.cli.main import app
from faceref.faces.detect import load_landmarker


@pytest.fixture
def no_predictor(monkeypatch) -> None:
    def refuse() -> None:
        raise AssertionError("dlib's predictor is asked for")

    monkeypatch.setattr("faceref.faces.dlib_detector._predictor", refuse)


@pytest.fixture
def portrait(astronaut: Image.Image) -> Image.Image:
    return astronaut.crop((96, 0, 352, 256))


def test_python_restores_without_dlibs_landmarks(no_predictor, portrait: Image.Image, tiny_model):
    restorer = Restorer.from_pretrained(tiny_model, landmarker=load_landmarker("mesh"))
    result = restorer.restore(portrait, [ImageOps.mirror(portrait)], RestoreOptions(always=True))
    changed = (np.asarray(result.image) != np.asarray(portrait)).any(-1)
    assert changed[100:150, 100:150].mean() > 0.9
    face = np.asarray(restorer.restore(portrait.resize((64, 64)), (), RestoreOptions(aligned=True, always=True)).image)
    assert face.shape == (64, 64, 3)


def test_the_command_does_too_and_a_folder(no_predictor, portrait: Image.Image, tiny_model, tmp_path):
    (tmp_path / "photos").mkdir()
    portrait.save(tmp_path / "photos" / "a.png")
    ImageOps.mirror(portrait).save(tmp_path / "good.png")
    settings = ["--ref", str(tmp_path / "good.png"), "--model", str(tiny_model), "--landmarks", "mesh", "--always"]
    for photo, out in ((tmp_path / "photos" / "a.png", tmp_path / "a.png"), (tmp_path / "photos", tmp_path / "out")):
        done = CliRunner().invoke(app, ["restore", str(photo), "-o", str(out), *settings], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert out.exists()


def test_landmarks_that_there_are_not_end_with_one_sentence(portrait: Image.Image, tiny_model, tmp_path):
    portrait.save(tmp_path / "a.png")
    done = CliRunner().invoke(
        app, ["restore", str(tmp_path / "a.png"), "--model", str(tiny_model), "--landmarks", "five"]
    )
    assert (done.exit_code, "There are no landmarks 'five'; choose dlib or mesh." in done.output) == (2, True)
