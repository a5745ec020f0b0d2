"""CUDA graphs of the denoiser give what it gives without them; on other devices nothing changes."""

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from diffusers import DDIMScheduler, VQModel
from networks import MODEL_UNET, noise, reference_unet

from faceref.models.cuda_graphs import Evaluation, Graphs
from faceref.pipelines.refldm import ReFLDMPipeline

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def pipeline_on_cuda(dtype: torch.dtype = torch.float32) -> ReFLDMPipeline:
    unet = reference_unet(**MODEL_UNET)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vae = VQModel(
            block_out_channels=(32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            num_vq_embeddings=64,
        ).eval()
    pipeline = ReFLDMPipeline(unet, vae, DDIMScheduler(clip_sample=False, timestep_spacing="trailing"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda", dtype)


def person(number: int, references: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """An LQ face [1, 3, 64, 64] and reference photographs [N, 3, 64, 64]."""
    pictures = noise(1 + references, 3, 64, 64, seed=number).clamp(-1, 1)
    return pictures[:1], pictures[1:]


def restore(pipeline: ReFLDMPipeline, number: int, references: int = 2, **settings) -> torch.Tensor:
    """The latents [1, 4, 16, 16] of a person."""
    lq, photographs = person(number, references)
    settings = {"num_inference_steps": 5, "guidance_scale": 2.0} | settings
    latents = noise(1, 4, 16, 16, seed=100 + number)
    return cast(torch.Tensor, pipeline(lq, [photographs], latents=latents, output_type="latent", **settings).images)


def without_graphs(pipeline: ReFLDMPipeline, *args, **settings) -> torch.Tensor:
    plain = ReFLDMPipeline(pipeline.unet, pipeline.vae, pipeline.scheduler)
    plain.set_progress_bar_config(disable=True)
    plain._graphs._failed = True
    return restore(plain, *args, **settings)


def assert_alike(given: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert (given - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()


@on_cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_two_people_after_each_other_are_restored_as_without_graphs(dtype):
    pipeline = pipeline_on_cuda(dtype)
    expected = [without_graphs(pipeline, number) for number in (0, 1)]
    assert (expected[0] - expected[1]).abs().max() > 0.1
    for number in (0, 1, 0):
        assert_alike(restore(pipeline, number), expected[number], dtype)
    assert len(pipeline._graphs._graphs) == 1
    assert not pipeline._graphs._failed


@on_cuda
@pytest.mark.parametrize("settings", [{"guidance_scale": 1.0}, {"guidance_interval": (0.3, 0.7)}, {"references": 3}])
@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++", "unipc"])
def test_any_setting_is_as_without_graphs(settings, scheduler):
    pipeline = pipeline_on_cuda()
    for _ in range(2):
        given = restore(pipeline, 0, scheduler=scheduler, **settings)
        assert_alike(given, without_graphs(pipeline, 0, scheduler=scheduler, **settings))
    assert pipeline._graphs._graphs
    assert not pipeline._graphs._failed


@on_cuda
def test_people_restored_at_once_are_not_mixed():
    pipeline = pipeline_on_cuda()
    numbers = [0, 1, 2, 3] * 4  # 2 or 3 references
    expected = {number: without_graphs(pipeline, number, 2 + number % 2) for number in set(numbers)}
    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda number: restore(pipeline, number, 2 + number % 2), numbers))
    for number, latents in zip(numbers, given, strict=True):
        assert_alike(latents, expected[number])
    assert not pipeline._graphs._failed


@on_cuda
def test_weights_that_moved_are_found():
    pipeline = pipeline_on_cuda()
    expected = restore(pipeline, 0)
    pipeline.to("cpu")
    pipeline.to("cuda")
    pipeline.use_channels_last()
    assert_alike(restore(pipeline, 0), expected)


def test_a_graph_is_captured_in_a_second_step_and_kept_for_those_like_it(monkeypatch):
    monkeypatch.setattr("faceref.models.cuda_graphs._Graph", lambda evaluation, x, timestep: evaluation)
    unet, x, timestep, graphs = reference_unet(), noise(1, 4, 16, 16), torch.tensor(500), Graphs()
    first, second, longer = (Evaluation(unet, noise(1, 4, 16, size), (None,)) for size in (16, 16, 32))
    with torch.no_grad():
        given = [graphs._graph(one, x, timestep) for one in (first, first, second, longer)]
    assert given == [None, first, first, None], "what takes one step only is computed as it is"


def test_what_is_let_go_is_no_longer_used_by_the_device(tiny_model: Path):
    pipeline, waited = ReFLDMPipeline.from_pretrained(tiny_model), []
    for name in ("older", "newer"):
        done = SimpleNamespace(synchronize=lambda name=name: waited.append(name))
        pipeline._graphs._graphs[(name,)] = cast(Any, SimpleNamespace(done=done))
    pipeline.forget()
    assert sorted(waited) == ["newer", "older"]
    assert not pipeline._graphs._graphs


def test_elsewhere_an_evaluation_is_the_network_alone():
    unet, sample = reference_unet(), noise(2, 8, 16, 16)
    with torch.no_grad():
        shown, null = (unet.encode_references(noise(2, 2, 4, 16, 16, seed=seed)) for seed in (1, 2))
        graphs, x, timestep = Graphs(), sample[:, :4], torch.tensor(500)
        for _ in range(3):
            (plain,) = graphs(Evaluation(unet, sample[:, 4:], (shown,)), x, timestep)
            both = graphs(Evaluation(unet, sample[:, 4:], (shown, null)), x, timestep)
        assert torch.equal(plain, unet(sample, timestep, shown).sample)
        assert all(map(torch.equal, both, unet.forward_each(sample, timestep, (shown, null))))
    assert not graphs._graphs


def test_a_copy_is_of_the_same_kind_in_memory_of_its_own():
    unet = reference_unet(sample_size=16, identity_size=8)
    with torch.no_grad():
        cache = unet.encode_references(noise(1, 2, 4, 16, 16), identities=noise(1, 2, 8)).expand(3)
        cache = cache.with_multiplicity(torch.ones(3, 2))
    evaluation = Evaluation(unet, noise(3, 4, 16, 16), (cache, None), (noise(3, 4, 4, 4),))
    copied = evaluation.copy()
    assert copied.key == evaluation.key
    for own, given in zip(copied.tensors, evaluation.tensors, strict=True):
        assert torch.equal(own, given)
        assert own.data_ptr() != given.data_ptr()
    assert Evaluation(unet, evaluation.lq, (cache.with_multiplicity(None), None), evaluation.features).key != copied.key
    untold = dataclasses.replace(cache, identities=None)
    assert Evaluation(unet, evaluation.lq, (untold, None), evaluation.features).key != copied.key


def test_copies_begin_without_graphs(tiny_model: Path):
    pipeline = ReFLDMPipeline.from_pretrained(tiny_model)
    copied = copy.deepcopy(pipeline)
    assert copied._graphs is not pipeline._graphs
    assert pickle.loads(pickle.dumps(pipeline._graphs))._graphs == {}
