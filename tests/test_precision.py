"""The choice of a number format: by what the machine was measured to do, once."""

import json

import pytest
import torch

from faceref import precision
from faceref.checkpoints.store import load_pipeline
from faceref.errors import UsageError
from faceref.precision import LayerSize, probe, to_dtype

CPU = torch.device("cpu")
SIZES = [LayerSize(32, 16), LayerSize(64, 8)]


@pytest.fixture
def measured(monkeypatch):
    """Stands for a machine: seconds by number format; and what was asked of it."""
    seconds, asked = {torch.float32: 1.0, torch.bfloat16: 1.0}, []

    def measure(device, dtype, sizes):
        asked.append((dtype, tuple(sizes)))
        return seconds[dtype]

    monkeypatch.setattr(precision, "probe", measure)
    return seconds, asked


@pytest.mark.parametrize(("bfloat16", "chosen"), [(2.0, torch.float32), (0.9, torch.float32), (0.5, torch.bfloat16)])
def test_auto_is_bfloat16_where_it_is_clearly_faster(tmp_path, measured, bfloat16, chosen):
    measured[0][torch.bfloat16] = bfloat16
    assert to_dtype("auto", CPU, SIZES, tmp_path) == chosen


def test_what_was_measured_is_remembered_by_cpu_torch_and_sizes(tmp_path, measured):
    seconds, asked = measured
    to_dtype("auto", CPU, SIZES, tmp_path)
    seconds[torch.bfloat16] = 0.1
    assert to_dtype("auto", CPU, SIZES, tmp_path) == torch.float32, "not measured again"
    assert asked == [(torch.float32, tuple(SIZES)), (torch.bfloat16, tuple(SIZES))]
    (key,) = json.loads((tmp_path / precision.FILE).read_text())
    assert f"torch {torch.__version__}" in key
    assert torch.backends.cpu.get_cpu_capability() in key
    assert to_dtype("auto", CPU, SIZES[:1], tmp_path) == torch.bfloat16, "another network is measured"


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"KEY": 1}', '{"KEY": {"float32": 1}}'])
def test_a_damaged_memory_is_measured_anew(tmp_path, measured, content):
    to_dtype("auto", CPU, SIZES, tmp_path)
    (key,) = json.loads((tmp_path / precision.FILE).read_text())
    (tmp_path / precision.FILE).write_text(content.replace("KEY", key))
    assert to_dtype("auto", CPU, SIZES, tmp_path) == torch.float32
    assert json.loads((tmp_path / precision.FILE).read_text())


def test_where_nothing_can_be_remembered_it_is_measured_each_time(tmp_path, measured):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert to_dtype("auto", CPU, SIZES, tmp_path / "file") == torch.float32
    assert len(measured[1]) == 4


def test_the_probe_tells_a_larger_network_from_a_smaller_one():
    assert 0 < probe(CPU, torch.float32, [LayerSize(32, 16)]) < probe(CPU, torch.float32, [LayerSize(256, 64)])


def test_what_a_device_does_not_have_is_never_fastest():
    assert probe(CPU, torch.float8_e4m3fn, SIZES) == float("inf")


def test_other_number_formats_are_refused_with_the_choices(tmp_path):
    with pytest.raises(UsageError, match="no number format 'int8'; choose one of auto, float32, bfloat16, float16"):
        to_dtype("int8", CPU, SIZES, tmp_path)  # type: ignore[arg-type]


def test_a_model_is_probed_at_the_sizes_of_its_denoiser(tiny_model, measured, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured[0][torch.bfloat16] = 0.1
    pipeline, _ = load_pipeline(tiny_model, dtype="auto")
    assert pipeline.unet.dtype == pipeline.vae.dtype == torch.bfloat16
    assert measured[1][0][1] == (LayerSize(32, 16), LayerSize(32, 8))
