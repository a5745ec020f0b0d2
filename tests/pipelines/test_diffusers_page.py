"""What docs/diffusers.md shows works with the model that ships, and a folder names no code to run."""

import re
from pathlib import Path

import numpy as np
from diffusers import DiffusionPipeline
from PIL import Image, ImageOps

from faceref.checkpoints.info import find_model
from faceref.checkpoints.store import load_pipeline

PAGE = Path(__file__).parents[2] / "docs" / "diffusers.md"


def test_the_python_shown_restores_a_face(tmp_path, astronaut: Image.Image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face = astronaut.crop((140, 10, 310, 180)).resize((128, 128))
    face.resize((16, 16)).resize((128, 128)).save("face.png")
    ImageOps.mirror(face).save("face_ref.png")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(code, PAGE.name, "exec"), {})
    with Image.open("restored.png") as restored, Image.open("face.png") as degraded:
        errors = [
            np.abs(np.asarray(picture, dtype=float) - np.asarray(face)).mean() for picture in (restored, degraded)
        ]
    assert errors[0] < errors[1]


def test_a_pipeline_is_one_of_diffusers():
    pipeline, _ = load_pipeline("small")
    assert isinstance(pipeline, DiffusionPipeline)
    assert {"unet", "vae", "scheduler"} <= pipeline.components.keys()
    assert (find_model("small") / "model_index.json").is_file()
