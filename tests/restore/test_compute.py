"""Restoring in less memory, in other numbers, and where there is too little memory: the same faces."""

import numpy as np
import pytest
import torch

from faceref.checkpoints.store import load_pipeline
from faceref.compute import Compute, Memory
from faceref.errors import FacerefError, UsageError
from faceref.restore import request
from faceref.restore.model import Model
from faceref.restore.options import RestoreOptions
from faceref.restore.restorer import Restorer

ALWAYS = RestoreOptions(always=True, aligned=True)


class TooSmall:
    """A device that has room for so many faces, or for one only in strips; as CUDA says that it has not."""

    def __init__(self, pipeline, room: int, *, whole: bool = True, says: str = "CUDA out of memory. Tried to") -> None:
        self.pipeline, self.room, self.whole, self.says = pipeline, room, whole, says
        self.calls: list[int] = []

    def __getattr__(self, name):
        return getattr(self.pipeline, name)

    def __call__(self, faces, **options):
        self.calls.append(len(faces))
        if len(faces) > self.room or not (self.whole or self.pipeline.in_strips):
            raise RuntimeError(self.says)
        return self.pipeline(faces, **options)


@pytest.fixture
def faces(astronaut):
    return [astronaut.crop((96 + 4 * i, 0, 350 + 4 * i, 254)) for i in range(5)]


def restored(model: Model, faces, on_step=lambda _: None):
    settings = model.settings(ALWAYS)
    return [np.asarray(face, int) for face in model.restore(faces, [None] * len(faces), settings, on_step)]


def share_apart(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels more than a level apart: a rounding may change the codebook's entry of a place."""
    return float((np.abs(one - other) > 1).mean())


def test_too_many_faces_for_the_memory_are_restored_in_smaller_parts(tiny_model, faces):
    expected = restored(Model(*load_pipeline(tiny_model)), faces)
    pipeline, info = load_pipeline(tiny_model)
    small, steps = TooSmall(pipeline, room=2), []
    found = restored(Model(small, info), faces, steps.append)  # type: ignore[arg-type]
    assert small.calls == [5, 2, 3, 1, 2]
    assert all(share_apart(one, other) < 0.01 for one, other in zip(expected, found, strict=True))
    assert steps == sorted(steps)
    assert steps[-1] == info.steps
    assert not pipeline.in_strips


def test_one_face_too_large_for_the_memory_is_restored_in_strips(tiny_model, faces):
    pipeline, info = load_pipeline(tiny_model)
    expected = restored(Model(*load_pipeline(tiny_model)), faces[:1])
    (found,) = restored(Model(TooSmall(pipeline, room=8, whole=False), info), faces[:1])  # type: ignore[arg-type]
    assert pipeline.in_strips
    assert share_apart(expected[0], found) < 0.01


def test_where_nothing_helps_it_is_one_sentence(tiny_model, faces):
    pipeline, info = load_pipeline(tiny_model)
    with pytest.raises(FacerefError, match=r"^cpu has too little memory for a face of 64 px; .*low memory") as error:
        restored(Model(TooSmall(pipeline, room=0), info), faces)  # type: ignore[arg-type]
    assert error.value.code == "out_of_memory"


def test_other_errors_of_torch_are_not_taken_for_a_want_of_memory(tiny_model, faces):
    pipeline, info = load_pipeline(tiny_model)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        restored(Model(TooSmall(pipeline, room=0, says="shapes do not fit"), info), faces)  # type: ignore[arg-type]


@pytest.mark.parametrize(("memory", "times"), [("normal", 1), ("low", 0)])
def test_a_process_that_is_to_take_little_memory_keeps_none(tiny_model, monkeypatch, memory: Memory, times: int):
    kept: list[bool] = []
    monkeypatch.setattr(request, "keep_freed_memory", lambda: kept.append(True))
    request.load_restorer(str(tiny_model), Compute("cpu", memory=memory))
    assert len(kept) == times


def test_low_memory_restores_the_same_faces(tiny_model_with_blind, faces):
    good = faces[1:3]
    normal = Restorer.from_pretrained(tiny_model_with_blind, "cpu")
    low = Restorer.from_pretrained(tiny_model_with_blind, "cpu", memory="low")
    assert low.model.pipeline.in_strips
    assert low.blind.pipeline.in_strips
    for references in (good, []):
        one, other = (np.asarray(each.restore(faces[0], references, ALWAYS).image, int) for each in (normal, low))
        assert np.abs(one - other).max() <= 1


def test_a_result_in_other_numbers_says_so_and_is_nearly_the_same(tiny_model, faces):
    exact, rounded = (Restorer.from_pretrained(tiny_model, "cpu", dtype) for dtype in ("float32", "bfloat16"))
    one, other = (each.restore(faces[0], faces[1:2], ALWAYS) for each in (exact, rounded))
    assert "dtype" not in one.account().faces[0].settings
    assert other.account().faces[0].settings["dtype"] == "bfloat16"
    assert 0 < np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).mean() < 2


@pytest.mark.parametrize("model", ["tiny_model", "tiny_blind_model"])
def test_an_offloaded_denoiser_restores_the_same(model, faces, request):
    folder = request.getfixturevalue(model)
    whole, info = load_pipeline(folder)
    offloaded, _ = load_pipeline(folder)
    offloaded.enable_sequential_cpu_offload(device="cpu")  # as far as a CPU goes: its weights are nowhere in between
    assert {parameter.device.type for parameter in offloaded.unet.parameters()} == {"meta"}
    assert offloaded.execution_device.type == "cpu"
    one, other = (restored(Model(each, info), faces[:2]) for each in (whole, offloaded))
    assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_an_offloaded_model_is_shown_references(tiny_model, faces):
    whole, _ = load_pipeline(tiny_model)
    offloaded, _ = load_pipeline(tiny_model)
    offloaded.enable_sequential_cpu_offload(device="cpu")
    caches = [each.encode_references([face.resize((64, 64)) for face in faces[:2]]) for each in (whole, offloaded)]
    assert caches[0].encoder == caches[1].encoder
    assert all(torch.equal(*pair) for pair in zip(caches[0].keys, caches[1].keys, strict=True))


@pytest.mark.parametrize("wrong", [{"memory": "tiny"}, {"backend": "tf"}])
def test_a_way_to_compute_that_there_is_not_is_one_sentence(tiny_model, wrong):
    with pytest.raises(UsageError, match=r"There is no (memory 'tiny'|backend 'tf'); choose one of "):
        load_pipeline(tiny_model, **wrong)
