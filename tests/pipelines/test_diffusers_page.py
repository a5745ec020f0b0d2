"""What docs/diffusers.md shows and says holds for the model that ships."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageOps

from faceref.checkpoints.info import find_model
from faceref.checkpoints.store import load_pipeline

PAGE = Path(__file__).parents[2] / "docs" / "diffusers.md"


def test_the_python_shown_restores_a_face(tmp_path, astronaut: Image.Image, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face = astronaut.crop((140, 10, 310, 180)).resize((256, 256))
    face.resize((16, 16)).resize((256, 256)).save("face.png")
    ImageOps.mirror(face).save("face_ref.png")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(compile(code, PAGE.name, "exec"), {})

    def error(name: str) -> float:
        with Image.open(name) as picture:  # without texture, which is not the photograph's own
            seen, truth = (np.asarray(one.reduce(2), dtype=float) for one in (picture, face))
            return float(np.abs(seen - truth).mean())

    assert error("restored.png") < error("face.png")
    assert error("alone.png") < 2 * error("face.png")


def test_a_pipeline_is_one_of_diffusers():
    pipeline, _ = load_pipeline("small")
    assert isinstance(pipeline, DiffusionPipeline)
    assert {"unet", "vae", "scheduler"} <= pipeline.components.keys()
    assert (find_model("small") / "model_index.json").is_file()


def test_what_diffusers_can_switch_on_changes_nothing_or_is_refused():
    pipeline, info = load_pipeline("small")
    face = torch.rand(1, 3, info.resolution, info.resolution, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def restore():
        return np.array(pipeline(face, [face], generator=torch.Generator().manual_seed(0), output_type="np").images)

    before = restore()
    pipeline.enable_attention_slicing()
    assert np.array_equal(restore(), before)
    with pytest.raises(ValueError, match="model_cpu_offload_seq"):
        pipeline.enable_model_cpu_offload()
    assert not hasattr(pipeline, "enable_freeu")


def test_diffusers_own_loader_does_not_know_the_class():
    with pytest.raises(AttributeError, match="ReFLDMPipeline"):
        DiffusionPipeline.from_pretrained(find_model("small"))
