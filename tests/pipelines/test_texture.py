"""Texture in a pipeline: whose references it is of, how much is asked for, and that nothing else depends on it."""

import pytest
import torch

from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.pipelines.protocol import FacePipeline


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


def test_small_gives_all_that_fits_unless_told_otherwise(small: FacePipeline):
    face, references = pictures(1), [pictures(2, seed=1)]
    all_, unsaid, none = (restored(small, face, references, crisp=crisp) for crisp in (1.0, None, 0.0))
    assert torch.equal(all_, unsaid)
    assert (all_ - none).abs().max() > 0.05


def test_without_references_there_is_none(small: FacePipeline):
    assert torch.equal(*(restored(small, pictures(1), None, crisp=crisp) for crisp in (0.0, 1.0)))


def test_in_a_batch_each_face_has_its_own_persons_and_one_without_has_none(small: FacePipeline):
    faces, whose = pictures(3), [pictures(1, seed=1), None, pictures(3, seed=2)]
    together = restored(small, faces, whose)
    alone = [restored(small, faces[i : i + 1], None if one is None else [one]) for i, one in enumerate(whose)]
    assert (together - torch.cat(alone)).abs().max() < 1e-3


def test_one_by_one_it_is_the_same():
    pipeline = load_pipeline("small")[0]
    faces, whose = pictures(2), [pictures(1, seed=1), pictures(2, seed=2)]
    together = restored(pipeline, faces, whose)
    pipeline.enable_vae_tiling()
    assert (restored(pipeline, faces, whose) - together).abs().max() < 1e-3


def test_a_crispness_that_is_none_is_refused(small: FacePipeline):
    with pytest.raises(UsageError, match="A crispness of 2"):
        restored(small, pictures(1), None, crisp=2.0)
