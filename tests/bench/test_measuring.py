"""Operations are counted as by hand, memory is that of the work alone, released sizes are the released ones."""

import sys

import pytest
import torch
import torch.nn.functional as F

from faceref.bench.random_models import random_refldm
from faceref.bench.stopwatch import measure

CPU = torch.device("cpu")


def test_operations_are_those_counted_by_hand():
    picture, weight, tokens = torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3), torch.ones(1, 2, 16, 32)
    convolution = measure(lambda: F.conv2d(picture, weight, padding=1), CPU, 1)
    assert convolution.flops == 2 * 4 * 64 * 3 * 9
    attention = measure(lambda: F.scaled_dot_product_attention(tokens, tokens, tokens), CPU, 1)
    assert attention.flops == 2 * (2 * 2 * 16 * 16 * 32)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is that of the process")
def test_the_peak_is_that_of_the_work_not_of_what_was_before():
    large = measure(lambda: torch.ones(64 * 2**20), CPU, 1)
    small = measure(lambda: torch.ones(2**10), CPU, 1)
    assert large.memory - small.memory > 200 * 2**20


def test_released_sizes():
    pipeline = random_refldm()
    millions = [round(network.num_parameters() / 1e6, 1) for network in (pipeline.unet, pipeline.vae)]
    assert millions == [117.8, 57.2]  # PAPERS.md: counted in the released checkpoints' layout
