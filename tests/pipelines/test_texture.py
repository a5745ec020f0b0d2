"""Texture in a pipeline: whose references it is of, how crisply is drawn, and of which models that can be asked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline


@pytest.fixture(scope="module")
def small() -> FacePipeline:
    return load_pipeline("small")[0]


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Numbers in [-1, 1], [N, 3, 256, 256]."""
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restored(pipeline: FacePipeline, faces: torch.Tensor, references, **options) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(0) for _ in faces]
    images = pipeline(faces, references, generator=generators, output_type="raw", **options).images
    assert isinstance(images, torch.Tensor)
    return images


def share_apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The share of numbers that differ by more than rounding explains.

    Of the thousands of patches of these random pictures, a few have two that fit them equally well, between which
    rounding decides, on one CPU otherwise than on another.
    """
    return ((one - other).abs() > 1e-3).float().mean().item()


def test_small_draws_a_face_with_references_as_crisply_as_it_is_told(small: FacePipeline):
    face, references, of_its_own = pictures(1), [pictures(2, seed=1)], load_pipeline("small")[1].crisp
    shares = (1.0, of_its_own, None, 0.0)
    crisp, told, unsaid, soft = (restored(small, face, references, crisp=share) for share in shares)
    assert torch.equal(told, unsaid)
    assert (crisp - soft).abs().max() > 0.05
    assert min((told - other).abs().max() for other in (crisp, soft)) > 0.01


def test_a_face_without_references_is_drawn_crisply_too(small: FacePipeline):
    crisp, soft = (restored(small, pictures(1), None, crisp=crisp) for crisp in (1.0, 0.0))
    assert (crisp - soft).abs().max() > 0.02


def test_whose_texture_it_is_shown_matters_whatever_the_denoiser_makes_of_them(small: FacePipeline):
    assert isinstance(small, ReFLDMPipeline)
    one, other = (small.encode_references(pictures(2, seed=seed)) for seed in (1, 2))
    assert one.texture is not None
    exchanged = replace(one, texture=other.texture)
    drawn, otherwise = (restored(small, pictures(1), [cache]) for cache in (one, exchanged))
    assert (drawn - otherwise).abs().max() > 0.01


def test_in_a_batch_each_face_has_its_own_persons_texture_and_one_without_has_none(small: FacePipeline):
    faces, whose = pictures(3), [pictures(1, seed=1), None, pictures(3, seed=2)]
    together = restored(small, faces, whose)
    alone = [restored(small, faces[i : i + 1], None if one is None else [one]) for i, one in enumerate(whose)]
    assert share_apart(together, torch.cat(alone)) < 0.05


def test_one_by_one_it_is_the_same():
    pipeline = load_pipeline("small")[0]
    faces, whose = pictures(2), [pictures(1, seed=1), pictures(2, seed=2)]
    together = restored(pipeline, faces, whose)
    pipeline.enable_vae_tiling()
    assert share_apart(restored(pipeline, faces, whose), together) < 0.05


def test_a_model_whose_decoder_is_shown_no_texture_remembers_none_and_takes_no_crispness(tiny_model: Path):
    tiny = load_pipeline(tiny_model)[0]
    assert isinstance(tiny, ReFLDMPipeline)
    assert not tiny.is_textured
    assert tiny.encode_references(pictures(2)[..., :64, :64]).texture is None
    with pytest.raises(UsageError, match="cannot be told how crisply to draw") as refused:
        restored(tiny, pictures(1)[..., :64, :64], None, crisp=1.0)
    assert refused.value.code == "no_crispness"


def test_a_crispness_that_is_none_is_refused(small: FacePipeline):
    with pytest.raises(UsageError, match="A crispness of 2"):
        restored(small, pictures(1), None, crisp=2.0)


def test_drawing_works_under_autocast_with_and_without_texture_as_validation_does(small: FacePipeline):
    assert isinstance(small, ReFLDMPipeline)
    latents, faces = torch.randn(2, 8, 32, 32, generator=torch.Generator().manual_seed(0)), pictures(2)
    decoded = small.decode(latents)
    texture = torch.stack(
        [torch.rand(4, 256, 256, generator=torch.Generator().manual_seed(1)), torch.zeros(4, 256, 256)]
    )
    crispness = torch.ones(2)
    exact = small.correct(decoded, latents, faces, texture, crispness)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = small.correct(decoded, latents, faces, texture, crispness)
    assert drawn.dtype == torch.float32
    assert (drawn - exact).square().mean().sqrt() < 0.02 * exact.std()


def test_mouths_are_drawn_less_crisply_than_what_is_around_them(small: FacePipeline):
    """By half: as all of the face at half the crispness is, there alone."""
    told: list[torch.Tensor] = []
    assert small.detail is not None
    hook = small.detail.register_forward_pre_hook(lambda network, given: told.append(given[-1]))
    restored(small, pictures(2), [pictures(1, seed=1), None], crisp=0.8)
    hook.remove()
    (crispness,) = told
    side = crispness.shape[-1]
    assert crispness.shape == (2, 1, side, side)
    mouth, eyes, corner = (
        crispness[:, 0, round(y * side), round(x * side)] for y, x in ((0.75, 0.5), (0.46, 0.37), (0, 0))
    )
    torch.testing.assert_close(mouth, torch.full((2,), 0.4), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.stack([eyes, corner]), torch.full((2, 2), 0.8), atol=0.002, rtol=0)
