"""A pipeline is used as diffusers' own are: names, defaults, one face or many, another scheduler, what comes out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from networks import model_info
from PIL import Image

from faceref.checkpoints.store import load_pipeline, save_model
from faceref.errors import UsageError
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.settings import Sampling


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(tensor: torch.Tensor) -> list[Image.Image]:
    pixels = ((tensor.permute(0, 2, 3, 1).clip(-1, 1) + 1) * 127.5).round().byte().numpy()
    return list(map(Image.fromarray, pixels))


@pytest.fixture(scope="module")
def model(mini, tmp_path_factory) -> Path:
    """The golden model with a faceref.json that asks for three steps of DPM-Solver++ with guidance."""
    folder = tmp_path_factory.mktemp("conventions") / "model"
    info = model_info(name="mini", resolution=32, steps=3, guidance=2.0, scheduler="dpmsolver++")
    save_model(mini[0], info, folder)
    return folder


@pytest.fixture
def pipeline(model: Path) -> Any:
    return ReFLDMPipeline.from_pretrained(model)


@pytest.fixture(scope="module")
def faces(mini) -> list[Image.Image]:
    """The degraded face and its three references."""
    return [*pictures(mini[1]["lq_image"]), *pictures(mini[1]["reference_images"])]


def test_what_is_not_given_is_as_the_model_says(pipeline, faces):
    lq, *references = faces
    steps = []
    by_default = pipeline(
        lq, references, generator=noise(), output_type="raw", callback_on_step_end=lambda *told: steps.append(told[1])
    ).images
    said = pipeline(
        lq,
        references,
        num_inference_steps=3,
        guidance_scale=2.0,
        scheduler="dpmsolver++",
        generator=noise(),
        output_type="raw",
    ).images
    assert steps == [0, 1, 2]
    assert torch.equal(by_default, said)
    for other in ({"num_inference_steps": 2}, {"guidance_scale": 1.0}, {"scheduler": "ddim"}):
        given = pipeline(lq, references, generator=noise(), output_type="raw", **other).images
        assert not torch.allclose(given, said, atol=1e-3), other


def test_one_face_is_a_batch_of_one(pipeline, faces):
    lq, *references = faces
    (one,) = pipeline(lq, references, generator=noise()).images
    (batch,) = pipeline([lq], [references], generator=noise()).images
    assert np.array_equal(np.asarray(one), np.asarray(batch))
    tensor = torch.from_numpy(np.array(lq)).permute(2, 0, 1) / 127.5 - 1
    cache = pipeline.encode_references(references)
    (from_tensor,) = pipeline(tensor, cache, generator=noise()).images
    assert np.abs(np.asarray(from_tensor).astype(int) - np.asarray(one).astype(int)).max() <= 1


def test_no_generator_is_needed_and_torchs_own_is_used(pipeline, faces):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = pipeline(faces[0], output_type="raw").images
        second = pipeline(faces[0], output_type="raw").images
        torch.manual_seed(5)
        again = pipeline(faces[0], output_type="raw").images
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_as_many_generators_as_faces_are_needed(pipeline, faces):
    with pytest.raises(ValueError, match="2 generators were given for 1 faces"):
        pipeline(faces[:1], generator=[noise(), noise()])


def test_a_swapped_scheduler_samples(pipeline, faces):
    def restore(**options):
        return pipeline(
            faces[0], faces[1:], num_inference_steps=4, generator=noise(), output_type="raw", **options
        ).images

    assert isinstance(pipeline.scheduler, DPMSolverMultistepScheduler)
    ddim = restore(scheduler="ddim")
    assert not torch.allclose(restore(), ddim, atol=1e-3)
    schedule = pipeline.scheduler.config
    pipeline.scheduler = DDIMScheduler.from_config(schedule)
    assert torch.equal(restore(), ddim)
    pipeline.scheduler = DDIMScheduler.from_config(schedule, timestep_spacing="linspace")
    assert not torch.equal(restore(), ddim)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(schedule)  # none of ours; it is DDIM in other variables
    torch.testing.assert_close(restore(), ddim, rtol=0, atol=1e-3)
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(schedule)  # adds noise, from the same generator
    assert torch.equal(restore(), restore())
    assert not torch.allclose(restore(), ddim, atol=1e-2)


def test_the_rule_of_ddims_steps_binds_no_swapped_scheduler(pipeline, faces):
    """48 steps of DDIM would leave noise (`test_sampling`)."""
    pipeline.defaults = Sampling(steps=48, scheduler="ddim")
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    assert len(pipeline(faces[0], generator=noise()).images) == 1
    with pytest.raises(UsageError, match="48 steps of ddim would leave noise"):
        pipeline(faces[0], scheduler="ddim")


def test_what_comes_out_is_what_diffusers_gives(pipeline, faces):
    def restore(output_type, **options):
        return pipeline(faces[0], generator=noise(), output_type=output_type, **options)

    raw = restore("raw").images
    assert torch.equal(restore("pt").images, (raw / 2 + 0.5).clamp(0, 1))
    assert np.array_equal(restore("np").images, restore("pt").images.permute(0, 2, 3, 1).numpy())
    (picture,) = restore("pil").images
    assert np.abs(np.asarray(picture) - restore("np").images[0] * 255).max() <= 0.51
    (alone,) = restore("pt", return_dict=False)
    assert torch.equal(alone, restore("pt").images)


def test_a_callback_may_return_other_latents(pipeline, faces):
    def forget(asked, step, timestep, values):
        return {"latents": torch.zeros_like(values["latents"])} if step == 2 else values

    latents = pipeline(faces[0], generator=noise(), output_type="latent", callback_on_step_end=forget).images
    assert not latents.any()


def test_the_progress_bar_is_diffusers_and_off_where_a_model_is_loaded_by_its_name(pipeline, model, faces, capsys):
    pipeline(faces[0], generator=noise())
    assert "3/3" in capsys.readouterr().err
    load_pipeline(model)[0](faces[0], generator=noise())
    assert capsys.readouterr().err == ""


def test_a_model_that_is_saved_again_samples_as_before(pipeline, model, faces, tmp_path):
    _, info = load_pipeline(model)
    save_model(pipeline, info, tmp_path / "again")
    again: Any = ReFLDMPipeline.from_pretrained(tmp_path / "again")
    for scheduler in (None, "ddim", "unipc"):
        one, other = (
            each(faces[0], scheduler=scheduler, generator=noise(), output_type="raw").images
            for each in (pipeline, again)
        )
        assert np.array_equal(one, other)


def test_a_folder_that_is_no_model_of_ours_takes_diffusers_fifty_steps(mini_folder, tmp_path):
    ReFLDMPipeline.from_pretrained(mini_folder).save_pretrained(tmp_path)
    assert ReFLDMPipeline.from_pretrained(tmp_path).defaults.steps == 50
    assert json.loads((mini_folder / "faceref.json").read_text())["steps"] == 50
