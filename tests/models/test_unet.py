"""The reference-aware U-Net: what its attention computes, and that nothing stays in it between calls."""

import copy
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from networks import UNET, noise, reference_unet
from torch import nn

from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet


@pytest.fixture(scope="module")
def unet() -> ReferenceUNet:
    return reference_unet()


@pytest.fixture(scope="module")
def biased() -> ReferenceUNet:
    return reference_unet(distance_bias=True)


def test_without_references_it_is_diffusers_own_network(unet):
    plain = UNet2DModel(**UNET).eval()
    plain.load_state_dict(unet.state_dict())
    sample = noise(2, 8, 8, 8)
    torch.testing.assert_close(unet(sample, 7).sample, plain(sample, 7).sample)


def test_a_layer_attends_to_its_own_tokens_and_those_of_the_references(unet):
    """Against attention written out (softmax of q k^T over the joined tokens) in one layer of the network."""
    layer = unet.get_submodule("mid_block.attentions.0")
    cache = unet.encode_references(noise(1, 2, 4, 8, 8))
    index = cache.layers.index("mid_block.attentions.0")
    seen: dict[str, torch.Tensor] = {}
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.update(input=inputs[0], output=output))
    unet(noise(1, 8, 8, 8), 5, cache)
    hook.remove()

    tokens = layer.group_norm(seen["input"].flatten(2)).transpose(1, 2)  # [1, 16, 64]
    query = layer.to_q(tokens)
    key = torch.cat([layer.to_k(tokens), cache.keys[index]], dim=1)  # [1, 16 + 2 * 16, 64]
    value = torch.cat([layer.to_v(tokens), cache.values[index]], dim=1)
    heads = []
    for head in range(2):
        part = slice(32 * head, 32 * (head + 1))
        weights = (query[..., part] @ key[..., part].transpose(1, 2) / 32**0.5).softmax(dim=-1)
        heads.append(weights @ value[..., part])
    expected = layer.to_out[0](torch.cat(heads, dim=2)).transpose(1, 2).reshape_as(seen["input"]) + seen["input"]
    assert key.shape == (1, 48, 64)
    torch.testing.assert_close(seen["output"], expected)


def test_the_distance_bias_is_a_slope_for_each_head_times_the_distance(biased):
    """With queries of zero a head's weights are exp(-slope * distance), over the image and over each reference too."""
    unet = copy.deepcopy(biased)
    layer = unet.get_submodule("mid_block.attentions.0")
    for parameter in layer.to_q.parameters():
        nn.init.zeros_(parameter)
    cache = unet.encode_references(noise(1, 2, 4, 8, 8))
    index = cache.layers.index("mid_block.attentions.0")
    seen: dict[str, torch.Tensor] = {}
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.update(input=inputs[0], output=output))
    unet(noise(1, 8, 8, 8), 5, cache)
    hook.remove()

    own = layer.to_v(layer.group_norm(seen["input"].flatten(2)).transpose(1, 2))
    value = torch.cat([own, cache.values[index]], dim=1).unflatten(1, (3, 4, 4))  # [1, image and 2 references, 4, 4, C]
    attended = torch.zeros(1, 4, 4, 64)
    for row, column, head in itertools.product(range(4), range(4), range(2)):
        weights = torch.tensor(
            [[math.exp(-(64, 1)[head] * math.hypot(row - y, column - x) / 4) for x in range(4)] for y in range(4)]
        )
        part = slice(32 * head, 32 * (head + 1))
        attended[0, row, column, part] = (weights[..., None] * value[0, ..., part]).sum((0, 1, 2)) / (3 * weights.sum())
    expected = layer.to_out[0](attended).permute(0, 3, 1, 2) + seen["input"]
    torch.testing.assert_close(seen["output"], expected)


def test_with_the_distance_bias_an_absent_reference_still_counts_nothing(biased):
    sample, references = noise(1, 8, 8, 8), noise(1, 2, 4, 8, 8)
    one_of_two = biased.encode_references(references, multiplicity=torch.tensor([[1.0, 0.0]]))
    one = biased.encode_references(references[:, :1])
    torch.testing.assert_close(biased(sample, 3, one_of_two).sample, biased(sample, 3, one).sample)


def test_with_lq_residual_an_untrained_network_returns_the_lq_latent():
    unet = reference_unet(lq_residual=True)
    sample, references = noise(2, 8, 8, 8), noise(2, 1, 4, 8, 8)
    assert torch.equal(unet(sample, 7, unet.encode_references(references)).sample, sample[:, 4:])


def test_with_lq_residual_the_lq_latent_is_added_to_what_the_plain_network_predicts(unet):
    residual = reference_unet(lq_residual=True)
    residual.load_state_dict(unet.state_dict())
    sample = noise(2, 8, 8, 8)
    torch.testing.assert_close(residual(sample, 7).sample, unet(sample, 7).sample + sample[:, 4:])


def test_references_pass_with_the_lq_half_zero_at_timestep_zero(unet):
    """What is cached are the layer's keys in an ordinary pass over [reference, 0] at t = 0."""
    references = noise(1, 1, 4, 8, 8)
    cache = unet.encode_references(references)
    for index, name in enumerate(cache.layers):
        seen: dict[str, torch.Tensor] = {}
        hook = unet.get_submodule(f"{name}.to_k").register_forward_hook(
            lambda m, i, key, seen=seen: seen.update(key=key)
        )
        unet(torch.cat([references[0], torch.zeros(1, 4, 8, 8)], dim=1), 0)
        hook.remove()
        torch.testing.assert_close(cache.keys[index], seen["key"])


def test_each_layer_is_cached_for_each_reference(unet):
    cache = unet.encode_references(noise(2, 3, 4, 8, 8))
    assert len(cache.layers) == 4  # one on the way down, one in the middle, two on the way up
    assert {tuple(tensor.shape) for tensor in cache.keys + cache.values} == {(2, 3 * 16, 64)}
    second = unet.encode_references(noise(2, 3, 4, 8, 8)[1:, 2:])
    torch.testing.assert_close(cache.keys[0][1:, 32:], second.keys[0])


def test_multiplicity_n_equals_the_reference_n_times(unet):
    references, sample = noise(1, 1, 4, 8, 8), noise(1, 8, 8, 8)
    counted = unet.encode_references(references, torch.tensor([[5.0]]))
    repeated = unet.encode_references(references.expand(1, 5, -1, -1, -1))
    torch.testing.assert_close(unet(sample, 3, counted).sample, unet(sample, 3, repeated).sample)


def test_multiplicity_zero_equals_absence(unet):
    references, sample = noise(2, 3, 4, 8, 8), noise(2, 8, 8, 8)
    padded = unet(sample, 3, unet.encode_references(references, torch.tensor([[1.0, 1, 0], [0, 0, 0]]))).sample
    two = unet(sample[:1], 3, unet.encode_references(references[:1, :2])).sample
    none = unet(sample[1:], 3).sample
    torch.testing.assert_close(padded, torch.cat([two, none]))


def test_padding_in_a_batch_changes_nothing(unet):
    people = [unet.encode_references(noise(1, number, 4, 8, 8, seed=number)) for number in (1, 3)]
    sample = noise(3, 8, 8, 8)
    together = unet(sample, 3, ReferenceCache.batch([*people, None])).sample
    alone = [unet(sample[i : i + 1], 3, cache).sample for i, cache in enumerate([*people, None])]
    torch.testing.assert_close(together, torch.cat(alone))


def test_one_person_expands_to_a_batch(unet):
    sample, cache = noise(2, 8, 8, 8), unet.encode_references(noise(1, 2, 4, 8, 8))
    alone = torch.cat([unet(sample[i : i + 1], 3, cache).sample for i in range(2)])
    torch.testing.assert_close(unet(sample, 3, cache.expand(2)).sample, alone)


def test_nothing_stays_in_the_network(unet):
    sample, cache = noise(1, 8, 8, 8), unet.encode_references(noise(1, 2, 4, 8, 8))
    before = unet(sample, 3).sample
    unet(sample, 3, cache)
    with pytest.raises(RuntimeError):  # a pass that fails midway
        unet(noise(1, 8, 7, 7), 3, cache)
    assert torch.equal(unet(sample, 3).sample, before)


def test_threads_share_a_network_but_not_their_references(unet):
    sample = noise(1, 8, 8, 8)
    caches = [unet.encode_references(noise(1, 1, 4, 8, 8, seed=seed)) for seed in range(4)] + [None]
    with torch.no_grad():
        alone = [unet(sample, 3, cache).sample for cache in caches]

    def work(index):
        with torch.no_grad():
            return unet(sample, 3, caches[index % 5]).sample

    with ThreadPoolExecutor(4) as pool:
        for index, output in enumerate(pool.map(work, range(100))):
            assert torch.equal(output, alone[index % 5])


def test_gradients_reach_the_references_and_every_weight(unet):
    references = noise(1, 2, 4, 8, 8).requires_grad_()
    unet(noise(1, 8, 8, 8), 3, unet.encode_references(references)).sample.square().mean().backward()
    without = [name for name, weight in unet.named_parameters() if weight.grad is None or not weight.grad.any()]
    unet.zero_grad()
    assert references.grad is not None
    assert references.grad.any()
    assert not without


def test_what_follows_the_last_attention_is_not_computed_for_references(unet):
    computed = []
    hooks = [
        unet.get_submodule(name).register_forward_hook(lambda module, inputs, output: computed.append(module))
        for name in ("up_blocks.0.upsamplers.0", "up_blocks.1.resnets.0", "conv_out")
    ]
    unet.encode_references(noise(1, 1, 4, 8, 8))
    assert not computed
    unet(noise(1, 8, 8, 8), 3)
    assert len(computed) == 3
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("network", ["unet", "biased"])
def test_a_saved_network_is_the_same_network(network, request, tmp_path):
    unet = request.getfixturevalue(network)
    unet.save_pretrained(tmp_path)
    again: Any = ReferenceUNet.from_pretrained(tmp_path)
    sample, references = noise(1, 8, 8, 8), noise(1, 2, 4, 8, 8)
    assert isinstance(again, ReferenceUNet)
    assert torch.equal(
        again(sample, 3, again.encode_references(references)).sample,
        unet(sample, 3, unet.encode_references(references)).sample,
    )


def test_references_for_another_batch_or_network_are_refused(unet):
    sizes: dict[str, Any] = UNET | {"down_block_types": ("AttnDownBlock2D", "AttnDownBlock2D")}
    other = ReferenceUNet(**sizes)
    for cache in (unet.encode_references(noise(2, 1, 4, 8, 8)), other.encode_references(noise(1, 1, 4, 8, 8))):
        with pytest.raises(ValueError, match="references for"):
            unet(noise(1, 8, 8, 8), 3, cache)


class TrainingStep(nn.Module):
    """As in training: one module encodes and denoises in its own forward pass."""

    def __init__(self, unet: ReferenceUNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        return self.unet(sample, 3, self.unet.encode_references(references)).sample


def test_gradients_with_checkpointing_equal_those_without(unet):
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            unet.train().enable_gradient_checkpointing()
        TrainingStep(unet)(noise(1, 8, 8, 8), noise(1, 2, 4, 8, 8)).square().mean().backward()
        gradients.append([weight.grad.clone() for weight in unet.parameters()])
        unet.zero_grad()
    unet.eval().disable_gradient_checkpointing()
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("layers", ["attention on the coarser level", "attention in the middle alone"])
def test_one_pass_with_several_references_predicts_what_a_pass_with_each_does(layers):
    plain = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = reference_unet(lq_residual=True, **(plain if "alone" in layers else {}))
    for parameter in unet.conv_out.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(0))
    sample = noise(2, 8, 8, 8)
    timesteps = torch.tensor([5, 300])
    caches = [unet.encode_references(noise(2, count, 4, 8, 8, seed=count)) for count in (1, 3)]
    caches[0] = caches[0].with_multiplicity(torch.tensor([[3.0], [1.0]]))
    together = unet.forward_each(sample, timesteps, caches)
    for one, cache in zip(together, caches, strict=True):
        torch.testing.assert_close(one, unet(sample, timesteps, cache).sample)
    assert not torch.equal(*together)


def test_one_pass_computes_what_comes_before_the_references_once(unet):
    rows: list[int] = []
    hooks = [
        unet.get_submodule(name).register_forward_hook(lambda _, inputs, output: rows.append(len(inputs[0])))
        for name in ("conv_in", "down_blocks.0.resnets.0", "down_blocks.1.resnets.0", "mid_block.resnets.0")
    ]
    cache = unet.encode_references(noise(1, 1, 4, 8, 8))
    rows.clear()
    unet.forward_each(noise(1, 8, 8, 8), 5, (cache, cache))
    for hook in hooks:
        hook.remove()
    assert rows == [1, 1, 1, 2]  # the first attention is behind the second level's first block
