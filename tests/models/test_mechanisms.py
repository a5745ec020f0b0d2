"""Other ways to show references: they begin as the LQ-only network, see what they should, and keep the contract."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from networks import noise, reference_unet

from faceref.errors import CheckpointError, UsageError
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.loading import load_component
from faceref.models.mechanisms import MECHANISMS, REFERENCE_UNETS, with_mechanism
from faceref.models.reference import ReferenceCache
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline

OTHERS = ["channel_concat", "cross_attention", "spatial_concat"]


def trained(mechanism: str, **settings) -> ReferenceUNet:
    """What is new in the network has weights that are not zero."""
    unet = with_mechanism(reference_unet(**settings), mechanism, references=3)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for name, weight in unet.named_parameters():
            if "references" in name or name == "conv_in.weight":
                weight += 0.1 * torch.randn_like(weight)
    return unet.eval()


@pytest.mark.parametrize("mechanism", OTHERS)
@pytest.mark.parametrize("distance_bias", [False, True])
def test_it_begins_as_the_network_that_knows_no_references(
    mechanism: str, distance_bias: bool, caplog: pytest.LogCaptureFixture
):
    plain = reference_unet(distance_bias=distance_bias)
    unet = with_mechanism(plain, mechanism, references=3).eval()
    sample = noise(2, 8, 8, 8)
    expected = plain(sample, 7).sample
    torch.testing.assert_close(unet(sample, 7).sample, expected)
    torch.testing.assert_close(unet(sample, 7, unet.encode_references(noise(2, 0, 4, 8, 8))).sample, expected)
    if mechanism != "spatial_concat":  # which has nothing that is new
        torch.testing.assert_close(unet(sample, 7, unet.encode_references(noise(2, 2, 4, 8, 8))).sample, expected)
    assert caplog.text == ""  # diffusers complains of processors that do not take what it passes


@pytest.mark.parametrize("mechanism", OTHERS)
def test_every_reference_and_every_weight_counts(mechanism: str):
    unet = trained(mechanism)
    references = noise(2, 3, 4, 8, 8).requires_grad_()
    unet(
        noise(2, 8, 8, 8), torch.tensor([3, 700]), unet.encode_references(references)
    ).sample.square().mean().backward()
    assert references.grad is not None
    assert (references.grad.abs().sum(dim=(2, 3, 4)) > 0).all()
    without = [name for name, weight in unet.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without


@pytest.mark.parametrize("mechanism", OTHERS)
def test_neighbours_in_a_batch_and_their_numbers_of_references_change_nothing(mechanism: str):
    unet, sample = trained(mechanism, distance_bias=True), noise(3, 8, 8, 8)
    people = [unet.encode_references(noise(1, number, 4, 8, 8, seed=number)) for number in (1, 3)]
    together = unet(sample, 3, ReferenceCache.batch([*people, None])).sample
    alone = [unet(sample[i : i + 1], 3, cache).sample for i, cache in enumerate([*people, None])]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.allclose(alone[0], unet(sample[:1], 3).sample, atol=1e-3)


@pytest.mark.parametrize("mechanism", ["cross_attention", "spatial_concat"])
def test_a_reference_counted_twice_is_shown_twice_and_order_does_not_matter(mechanism: str):
    unet, sample, references = trained(mechanism), noise(1, 8, 8, 8), noise(1, 2, 4, 8, 8)
    counted = unet(sample, 3, unet.encode_references(references, torch.tensor([[2.0, 1.0]]))).sample
    shown = unet(sample, 3, unet.encode_references(references[:, [1, 0, 0]])).sample
    torch.testing.assert_close(counted, shown)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1.0, 1.0], "010"),  # each once before any is repeated, as in training
        ([1.0, 0.0], "000"),
        ([0.0, 1.0], "111"),
        ([0.0, 0.0], "..."),
        ([1.0, 1.0, 1.0, 1.0], "012"),
    ],
)
def test_concatenated_channels_are_the_references_in_turn(counts: list[float], expected: str):
    """Of a network with room for three; a dot stands for zeros."""
    unet, references = trained("channel_concat"), noise(1, len(counts), 4, 8, 8)
    seen = []
    unet.conv_in.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    unet(noise(1, 8, 8, 8), 3, unet.encode_references(references, torch.tensor([counts])))
    slots = [torch.zeros(1, 4, 8, 8) if slot == "." else references[:, int(slot)] for slot in expected]
    assert torch.equal(seen[0], torch.cat([noise(1, 8, 8, 8), *slots], 1))


def test_concatenated_channels_are_those_of_each_image():
    unet, one, two = trained("channel_concat"), noise(1, 1, 4, 8, 8), noise(1, 2, 4, 8, 8, seed=1)
    samples = noise(3, 8, 8, 8)
    together = ReferenceCache.batch([unet.encode_references(one), unet.encode_references(two), None])
    shown = [torch.cat([one] * 3, 1), two[:, [0, 1, 0]], None]
    alone = [
        unet(sample[None], 3, None if references is None else unet.encode_references(references)).sample
        for sample, references in zip(samples, shown, strict=True)
    ]
    torch.testing.assert_close(unet(samples, 3, together).sample, torch.cat(alone))


def test_spatially_concatenated_pictures_attend_to_each_other():
    """Against attention written out (softmax of q k^T over the tokens of all) in one layer of the network."""
    unet = trained("spatial_concat")
    layer: Any = unet.get_submodule("mid_block.attentions.0")
    seen: dict[str, torch.Tensor] = {}
    layer.register_forward_hook(lambda module, inputs, output: seen.update(input=inputs[0], output=output))
    unet(noise(1, 8, 8, 8), 5, unet.encode_references(noise(1, 2, 4, 8, 8)))
    tokens = layer.group_norm(seen["input"].flatten(2)).transpose(1, 2).reshape(48, 64)  # three pictures of 16 tokens
    query, key, value = layer.to_q(tokens), layer.to_k(tokens), layer.to_v(tokens)
    heads = [slice(0, 32), slice(32, 64)]
    attended = torch.cat([(query[:, h] @ key[:, h].T / 32**0.5).softmax(dim=1) @ value[:, h] for h in heads], dim=1)
    expected = layer.to_out[0](attended).unflatten(0, (3, 16)).transpose(1, 2).reshape_as(seen["input"])
    torch.testing.assert_close(seen["output"], expected + seen["input"])


@pytest.mark.parametrize("mechanism", OTHERS)
def test_a_model_is_saved_loaded_and_restores_alike(mechanism: str, tmp_path: Path):
    vae = PixelUnshuffleVQModel(base_channels=32, codebook_size=16)
    scheduler = DDIMScheduler(beta_start=0.0015, beta_end=0.0155, beta_schedule="scaled_linear", clip_sample=False)
    pipeline = ReFLDMPipeline(trained(mechanism), vae, scheduler)
    pipeline.save_pretrained(tmp_path / "model")
    loaded = ReFLDMPipeline.from_pretrained(tmp_path / "model")
    assert type(loaded.unet) is MECHANISMS[mechanism]

    lq, photographs = noise(1, 3, 32, 32), noise(2, 3, 32, 32, seed=1)
    results = [
        one(
            lq, references, guidance_scale=1.5, num_inference_steps=2, latents=noise(1, 4, 8, 8), output_type="latent"
        ).images
        for one, references in (
            (pipeline, [photographs]),
            (loaded, [photographs]),
            (loaded, pipeline.encode_references(photographs)),
        )
    ]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-3)


def test_references_of_another_mechanism_are_refused():
    cache = reference_unet().encode_references(noise(1, 2, 4, 8, 8))
    for mechanism in OTHERS:
        with pytest.raises(ValueError, match="another mechanism"):
            trained(mechanism)(noise(1, 8, 8, 8), 3, cache)


def test_a_mechanism_is_not_put_on_top_of_another():
    unet = trained("cross_attention")
    assert with_mechanism(unet, "cross_attention", 3) is unet
    with pytest.raises(UsageError, match="CrossAttentionUNet"):
        with_mechanism(unet, "channel_concat", 3)


def test_a_folder_without_a_network_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_component(tmp_path / "nowhere", REFERENCE_UNETS, "unet")
