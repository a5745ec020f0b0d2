"""Changes of low rank: what is held to them, and what becomes of them on disk."""

from pathlib import Path
from typing import cast

import pytest
import torch
from networks import noise, reference_unet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from faceref.checkpoints.store import load_pipeline, save_model
from faceref.errors import CheckpointError, UsageError
from faceref.models.loading import load_component
from faceref.models.low_rank import FILE, apply_change, hold_to_rank, merged, save_change
from faceref.models.unet import ReferenceUNet

RANK = 3


def moved(network: nn.Module, rank: int) -> nn.Module:
    """The same network, every matrix of it changed by one of this rank, every vector a little."""
    torch.manual_seed(1)
    for weight in network.parameters():
        change = torch.randn(weight.shape[0], rank) @ torch.randn(rank, weight[0].numel()) / 30
        weight.data += change.view_as(weight)
    return network


def rank_of(difference: torch.Tensor) -> int:
    return int(torch.linalg.matrix_rank(difference.flatten(1), rtol=1e-4))


def output_of(unet: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return unet(noise(2, 8, 16, 16), 500).sample


def test_a_network_that_is_held_begins_as_what_it_was_and_moves_within_its_rank():
    unet, base = reference_unet(), reference_unet()
    expected = output_of(unet)
    hold_to_rank(unet, base, RANK)
    torch.testing.assert_close(output_of(unet), expected)

    learning = torch.optim.Adam([one for one in unet.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(3):
        unet(noise(2, 8, 16, 16), 500).sample.square().mean().backward()
        learning.step()
        learning.zero_grad()
    wide = "down_blocks.1.resnets.0.conv2"
    now, then = (cast(nn.Conv2d, one.get_submodule(wide)) for one in (unet, base))
    assert 1 <= rank_of(now.weight - then.weight) <= RANK
    assert not torch.equal(cast(Tensor, now.bias), cast(Tensor, then.bias)), "vectors are trained as they are"
    assert not torch.allclose(output_of(unet), expected)


@pytest.mark.parametrize("rank", [1, RANK])
def test_what_it_differs_by_already_stays(rank: int):
    unet, base = moved(reference_unet(), rank), reference_unet()
    expected = output_of(unet)
    hold_to_rank(unet, base, RANK)
    torch.testing.assert_close(output_of(unet), expected, rtol=1e-3, atol=1e-4)


def test_what_the_rank_takes_away_is_said(caplog: pytest.LogCaptureFixture):
    hold_to_rank(moved(reference_unet(), 2 * RANK), reference_unet(), RANK)
    assert f"% of what was learnt since low_rank.of do not fit into a rank of {RANK}" in caplog.text


@pytest.mark.parametrize("base", [None, reference_unet(block_out_channels=(32, 32))], ids=["none", "narrower"])
def test_only_what_has_the_same_layers_is_a_base(base: nn.Module | None):
    with pytest.raises(UsageError, match="other layers than what is trained"):
        hold_to_rank(reference_unet(), base, RANK)


def test_a_model_is_written_with_the_weights_that_it_computes_with(tiny_model: Path, tmp_path: Path):
    pipeline, info = load_pipeline(tiny_model)
    assert merged(pipeline) is pipeline
    base = load_pipeline(tiny_model)[0].unet
    hold_to_rank(moved(pipeline.unet, RANK), base, RANK)
    save_model(merged(pipeline), info, tmp_path / "model")
    lq = noise(1, 3, 64, 64).clamp(-1, 1)
    both = pipeline, load_pipeline(tmp_path / "model")[0]
    torch.testing.assert_close(*(one(lq, latents=noise(1, 4, 16, 16), output_type="raw").images for one in both))


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A network on disk, and beside its weights what another differs by from it."""
    reference_unet().save_pretrained(tmp_path / "unet")
    save_change(moved(reference_unet(), RANK), reference_unet(), RANK, tmp_path / "unet" / FILE)
    return tmp_path / "unet"


def test_a_change_is_read_with_the_network_that_it_is_of(changed: Path):
    unet = load_component(changed, (ReferenceUNet,), "unet")
    for given, expected in zip(unet.parameters(), moved(reference_unet(), RANK).parameters(), strict=True):
        torch.testing.assert_close(given, expected, rtol=2e-3, atol=2e-3)


def test_in_half_precision_a_changed_weight_is_rounded_once(changed: Path):
    whole, half = (
        load_component(changed, (ReferenceUNet,), "unet", dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    for given, expected in zip(half.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(given, expected.bfloat16(), rtol=0, atol=0)


def test_a_change_takes_less_room_than_the_network(changed: Path):
    sizes = (changed.joinpath(name).stat().st_size for name in (FILE, "diffusion_pytorch_model.safetensors"))
    change, whole = sizes
    assert change < whole / 2 / 2, "half of half precision"


@pytest.mark.parametrize("damage", ["cut", "foreign", "shape", "half"])
def test_a_change_that_is_damaged_or_of_another_network_is_refused(changed: Path, damage: str):
    path = changed / FILE
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(".up"))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        save_file({f"other.{name}": tensors[name]}, path)
    elif damage == "shape":
        save_file(tensors | {name: tensors[name][:-1].contiguous()}, path)
    else:
        save_file({name: tensors[name]}, path)
    with pytest.raises(CheckpointError, match="no usable ReferenceUNet"):
        load_component(changed, (ReferenceUNet,), "unet")


def test_a_change_that_is_not_finite_is_refused(changed: Path):
    tensors = load_file(changed / FILE)
    save_file({name: value * torch.nan for name, value in tensors.items()}, changed / FILE)
    with pytest.raises(CheckpointError, match="not finite"):
        load_component(changed, (ReferenceUNet,), "unet")


def test_the_change_says_what_is_not_there(changed: Path):
    with pytest.raises(ValueError, match=f"{FILE} changes .*, which is not there"):
        apply_change(nn.Linear(2, 2), changed / FILE)
