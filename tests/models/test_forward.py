"""The explicit forward pass: it compiles, and says which settings of diffusers' it does not have."""

import shutil

import pytest
import torch
from networks import noise, reference_unet


@pytest.mark.parametrize("distance_bias", [False, True])
def test_it_compiles_into_one_graph(distance_bias):
    unet = reference_unet(distance_bias=distance_bias)
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    sample = noise(1, 8, 8, 8)
    with torch.no_grad():
        cache = unet.encode_references(noise(1, 2, 4, 8, 8))
        torch.testing.assert_close(compiled(sample, torch.tensor(3), cache).sample, unet(sample, 3, cache).sample)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # inductor's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile's backend for CPUs needs the compiler g++")
@torch.no_grad()
def test_compiled_to_machine_code_it_predicts_the_same():
    """With the real backend, on a network of one level: each of its kernels goes through the compiler."""
    level = {
        "block_out_channels": (16,),
        "down_block_types": ("AttnDownBlock2D",),
        "up_block_types": ("AttnUpBlock2D",),
    }
    unet = reference_unet(**level, attention_head_dim=16, norm_num_groups=4)
    sample, cache = noise(1, 8, 8, 8), unet.encode_references(noise(1, 2, 4, 8, 8))
    compiled = torch.compile(unet, fullgraph=True)
    expected = unet(sample, 3, cache).sample
    torch.testing.assert_close(compiled(sample, torch.tensor(3), cache).sample, expected)


def test_settings_that_the_pass_does_not_have_are_refused_by_name():
    for setting in ({"class_embed_type": "timestep"}, {"downsample_type": "resnet"}, {"center_input_sample": True}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            reference_unet(**setting)
    with pytest.raises(ValueError, match="SkipDownBlock2D"):
        reference_unet(down_block_types=("SkipDownBlock2D", "AttnDownBlock2D"))
