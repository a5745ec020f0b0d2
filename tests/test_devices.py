"""Devices: one that is not here is named, and timings wait until a GPU has done its work."""

import itertools
import time

import pytest
import torch

from faceref.checkpoints.store import load_pipeline
from faceref.devices import PEAK_SIDE, Timings, check_device, peak_flops
from faceref.errors import UsageError


@pytest.mark.parametrize("name", ["cuda:99", "nonsense", ""])
def test_a_device_that_is_not_here_is_named(name, tiny_model):
    for ask in (lambda: check_device(name), lambda: load_pipeline(tiny_model, name)):
        with pytest.raises(
            UsageError, match=f"The device {name} is not here; choose one of cuda, mps and cpu"
        ) as error:
            ask()
        assert error.value.code == "no_device"


def test_the_cpu_is_always_here():
    assert check_device("cpu") == check_device(torch.device("cpu")) == torch.device("cpu")


def test_a_phase_lasts_until_the_gpu_has_done_its_work_and_no_other(monkeypatch):
    pending = [0.05]  # seconds that the device still has to do when somebody waits for it

    def synchronize(device):
        assert device == torch.device("cuda:1")
        time.sleep(pending.pop() if pending else 0)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    timings = Timings(torch.device("cuda:1"))
    with timings("short"):  # what was begun before belongs to nobody
        pass
    with timings("long"):
        pending.append(0.05)
    assert timings.seconds["short"] < 0.04
    assert timings.seconds["long"] >= 0.05


def test_the_peak_is_that_of_the_fastest_product(monkeypatch):
    seconds = iter([4, 3, 0.5, 2, 1, *[5] * 5])  # of five matrix products, then of as many convolutions
    clock = itertools.accumulate(part for one in seconds for part in (0, one))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setitem(PEAK_SIDE, "cpu", 96)
    assert peak_flops(torch.device("cpu"), torch.float32) == 2 * 96**3 / 0.5


def test_phases_of_one_name_are_added():
    timings = Timings(torch.device("cpu"))
    for _ in range(3):
        with timings("work"):
            time.sleep(0.002)
    assert timings.seconds["work"] >= 0.006
