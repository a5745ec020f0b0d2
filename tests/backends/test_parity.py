"""Networks computed by ONNX Runtime and OpenVINO: what PyTorch makes, whatever they are given."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch
from networks import noise

from faceref.checkpoints.store import load_pipeline
from faceref.compute import Backend
from faceref.errors import UsageError
from faceref.pipelines.protocol import FacePipeline
from faceref.pipelines.refldm import ReFLDMPipeline

CLOSE = 1e-3  # of pictures in [-1, 1]

load = cache(lambda model, backend: load_pipeline(model, backend=backend)[0])


def pictures(count: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    """Numbers in [-1, 1], [N, 3, side, side]."""
    return noise(count, 3, side, side, seed=seed).clamp(-1, 1)


def restored(pipeline: FacePipeline, faces: torch.Tensor, **options) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(faces))]
    images = pipeline(faces, generator=generators, output_type="raw", **options).images
    assert isinstance(images, torch.Tensor)
    return images


@pytest.mark.parametrize("counts", [(0,), (1,), (3,), (0, 4)])
@pytest.mark.parametrize(("guidance", "crisp"), [(1.0, 0.0), (1.5, 0.4), (1.5, 1.0)])
def test_any_number_of_references(
    whole_model: Path, backend: Backend, counts: tuple[int, ...], guidance: float, crisp: float
):
    faces = pictures(len(counts))
    options = {"references": [pictures(count, seed=1) for count in counts], "guidance_scale": guidance, "crisp": crisp}
    expected, found = (restored(load(whole_model, one), faces, **options) for one in ("torch", backend))
    assert found.shape == faces.shape
    # of two patches that are equally like a third, rounding chooses one: of noise, some are
    other_patches = 0.05 if any(counts) else 0.0
    assert ((expected - found).abs() > CLOSE).float().mean() <= other_patches


def test_references_change_the_result(whole_model: Path, backend: Backend):
    pipeline, faces = load(whole_model, backend), pictures(1)
    one, other, none = (
        restored(pipeline, faces, references=references)
        for references in ([pictures(2, seed=1)], [pictures(2, seed=2)], None)
    )
    assert (one - other).abs().max() > 10 * CLOSE
    assert (one - none).abs().max() > 10 * CLOSE


def test_faces_are_drawn_as_crisply_as_is_asked_for(whole_model: Path, backend: Backend):
    none, half, all_ = (
        restored(load(whole_model, backend), pictures(1), references=[pictures(2, seed=1)], crisp=share)
        for share in (0.0, 0.5, 1.0)
    )
    assert min((one - other).abs().max() for one, other in ((none, half), (half, all_), (none, all_))) > 10 * CLOSE


def test_a_seed_gives_the_same_bytes_whoever_else_restores(whole_model: Path, backend: Backend):
    pipeline = load(whole_model, backend)
    people = [pictures(1 + one % 3, seed=one) for one in range(6)]

    def restore(references: torch.Tensor) -> torch.Tensor:
        return restored(pipeline, pictures(1), references=[references])

    alone = list(map(restore, people))
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(restore, people))
    assert all(map(torch.equal, alone, together))


def test_what_one_backend_made_of_references_is_not_given_to_another(whole_model: Path, backend: Backend):
    torchs, others = load(whole_model, "torch"), load(whole_model, backend)
    assert isinstance(torchs, ReFLDMPipeline)
    cache = others.encode_references(pictures(2, seed=1))
    assert torch.equal(
        restored(others, pictures(1), references=[cache]),
        restored(others, pictures(1), references=[pictures(2, seed=1)]),
    )
    with pytest.raises(UsageError, match="encoded by another model") as refused:
        restored(torchs, pictures(1), references=[cache])
    assert refused.value.code == "foreign_references"


def test_pictures_of_another_size_are_one_sentence(whole_model: Path, backend: Backend):
    with pytest.raises(UsageError, match=r"takes pictures of batch x 3 x 32 x 32, not of 1 x 3 x 16 x 16; ") as refused:
        restored(load(whole_model, backend), pictures(1, side=32))
    assert refused.value.code == "other_shape"
