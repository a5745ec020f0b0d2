"""Import of LD-BFR in the layout of its released code: sizes, every key accounted for, the original's arithmetic."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from original_layout import denoiser, draw, save_lightning, unet_shapes, vqgan_shapes
from safetensors.torch import load_file
from torch import Tensor

from faceref.checkpoints.info import read_info
from faceref.checkpoints.original import ImportSummary, import_refldm
from faceref.checkpoints.original_ldbfr import import_ldbfr
from faceref.checkpoints.unpickle import read_state_dict
from faceref.errors import CheckpointError
from faceref.pipelines.ldbfr import LDBFRPipeline

GOLDEN = Path(__file__).parents[1] / "golden"


def ldbfr_state_dict() -> dict[str, Tensor]:
    """Of 64 px: latents 3x16x16, features 64x4x4 from pictures of 16 px."""
    generator = torch.Generator().manual_seed(0)
    weights = draw(unet_shapes(32, [1, 2, 2, 2], 1, {2, 4, 8}, latent=3, context=64), generator)
    attention = load_file(GOLDEN / "ldbfr-dual-attention.safetensors")
    restoring = vqgan_shapes(32, [1, 1, 2], 2, codebook=16, latent=64, attention=True)
    return {
        **denoiser(weights, last_beta=0.0195),
        **draw(restoring, generator, "first_stage_model."),
        **{f"first_stage_model.mid_Cross.{k}": v for k, v in attention.items() if k.endswith(("weight", "bias"))},
        **draw(vqgan_shapes(32, [1, 1, 2], 1, codebook=32, latent=3), generator, "first_stage_model_gt."),
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ldbfr") / "ldbfr.ckpt"
    save_lightning(ldbfr_state_dict(), path)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint) -> Path:
    return checkpoint.parent / "model"


@pytest.fixture(scope="module")
def summary(checkpoint, folder) -> ImportSummary:
    return import_ldbfr(checkpoint, folder, resolution=64)


@pytest.fixture(scope="module")
def pipeline(summary, folder) -> LDBFRPipeline:
    return LDBFRPipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def averaged(checkpoint) -> dict[str, Tensor]:
    """The weights to sample with, by their names in the original U-Net."""
    tensors = read_state_dict(checkpoint)
    prefix = "model.diffusion_model."
    return {name.removeprefix(prefix): tensor * 1.02 for name, tensor in tensors.items() if name.startswith(prefix)}


def sentence_of(path: Path, out: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        import_ldbfr(path, out, resolution=64)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert not out.exists()
    return sentence


def test_sizes_are_deduced_from_the_tensors(pipeline, summary, checkpoint, folder):
    unet, vq, vae = pipeline.unet.config, pipeline.vq, pipeline.vae.config
    assert (unet.sample_size, unet.in_channels, unet.out_channels) == (16, 3, 3)
    assert (unet.feature_channels, unet.feature_size) == (64, 4)
    assert list(unet.down_block_types) == ["DownBlock2D"] + ["AttnDownBlock2D"] * 3
    assert vq.autoencoder.config.down_block_types[-1] == "AttnDownEncoderBlock2D"
    assert list(vq.autoencoder.config.block_out_channels) == [32, 32, 64]
    assert (vae.latent_channels, vae.num_vq_embeddings, vae.layers_per_block) == (3, 32, 1)
    assert pipeline.scheduler.config.beta_end == 0.0195
    pipeline.scheduler.set_timesteps(4)
    assert pipeline.scheduler.timesteps.tolist() == [751, 501, 251, 1], "as latent-diffusion's DDIM: 0, c, 2c, ... + 1"
    info = read_info(folder)
    assert (info.family, info.resolution) == ("ldbfr", 64)
    assert summary.ema
    assert summary.taken + summary.ignored == len(read_state_dict(checkpoint))


def test_an_imported_model_restores(pipeline):
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.Generator().manual_seed(0)
    latents = pipeline(pictures, num_inference_steps=1, generator=noise, output_type="latent").images
    assert latents.shape == (1, pipeline.unet.config["out_channels"], 16, 16)  # of random weights: not to be drawn


def test_the_dual_cross_attention_is_the_original_one(pipeline):
    golden = load_file(GOLDEN / "ldbfr-dual-attention.safetensors")
    with torch.no_grad():
        output = pipeline.vq.attention(golden["input_q"], golden["input_h"])
    torch.testing.assert_close(output, golden["output"], rtol=0, atol=1e-5)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention [heads, tokens, channels], scale 1 / sqrt(channels)."""
    return (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2) @ v


def test_an_injection_on_the_way_down_computes_what_the_original_does(pipeline, averaged):
    """Changed_SelfAttentionBlock of the released code behind its self-attention, written out for one picture."""
    w = {k.removeprefix("input_blocks.3.1.cross_"): v / 50 for k, v in averaged.items() if "input_blocks.3.1.cr" in k}
    inject = pipeline.unet.get_submodule("down_blocks.1.attentions.0.processor.inject")
    x, features = (torch.randn(1, c, 8, 8, generator=torch.Generator().manual_seed(c)) for c in (64, 16))
    mixed = F.conv2d(torch.cat([x, features], 1), w["conv_1.weight"], w["conv_1.bias"], padding=1)
    mixed = F.group_norm(mixed, 32, w["norm_1.weight"], w["norm_1.bias"])
    mixed = F.conv2d(mixed, w["conv_2.weight"], w["conv_2.bias"], padding=1)
    tokens = F.group_norm(mixed, 32, w["norm.weight"], w["norm.bias"]).flatten(2)
    qkv = F.conv1d(tokens, w["qkv.weight"], w["qkv.bias"])[0].unflatten(0, (3, 2, 32)).transpose(2, 3)
    heads = attend(*qkv)  # [2 heads, 64 tokens, 32 channels]
    out = F.conv1d(heads.transpose(1, 2).flatten(0, 1)[None], w["proj_out.weight"], w["proj_out.bias"])
    assert_scaled(inject, x, features, out.unflatten(2, (8, 8)))


def test_an_injection_on_the_way_up_computes_what_the_original_does(pipeline, averaged):
    """Changed_AttentionBlock of the released code behind its self-attention, written out for one picture."""
    w = {k.removeprefix("output_blocks.4.1.cross_"): v / 50 for k, v in averaged.items() if "output_blocks.4.1.cr" in k}
    inject = pipeline.unet.get_submodule("up_blocks.2.attentions.0.processor.inject")
    x, features = (torch.randn(1, c, 8, 8, generator=torch.Generator().manual_seed(c)) for c in (64, 16))
    tokens, context = x.flatten(2).transpose(1, 2), features.flatten(2).transpose(1, 2)
    both = F.silu(torch.cat([tokens, context], 2))
    scale, shift = F.linear(both, w["adaLN_modulation.1.weight"], w["adaLN_modulation.1.bias"]).chunk(2, 2)
    normed = F.layer_norm(tokens, (64,), w["norm1.weight"], w["norm1.bias"]) * (1 + scale) + shift
    normed = F.layer_norm(normed, (64,), w["norm2.weight"], w["norm2.bias"])
    q, k, v = (
        F.linear(source, w[f"attn.to_{role}.weight"])[0].unflatten(1, (2, 32)).transpose(0, 1)
        for role, source in (("q", normed), ("k", context), ("v", context))
    )
    joined = attend(q, k, v).transpose(0, 1).flatten(1)[None]
    attended = F.linear(joined, w["attn.to_out.0.weight"], w["attn.to_out.0.bias"]) + tokens
    out = F.linear(attended, w["proj_out.weight"][:, :, 0, 0], w["proj_out.bias"])
    assert_scaled(inject, x, features, out.transpose(1, 2).unflatten(2, (8, 8)))


def assert_scaled(inject: torch.nn.Module, x: Tensor, features: Tensor, expected: Tensor) -> None:
    """With all weights a fiftieth, for softmaxes that are not one-hot."""
    with torch.no_grad():
        for parameter in inject.parameters():
            parameter /= 50
        actual = inject(x, features)
        for parameter in inject.parameters():
            parameter *= 50
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * expected.std().item())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"first_stage_model.mid_Cross.norm1.weight": torch.zeros(1)}, "keys that the model does not have: mid_Cross"),
        ({"control_model.weight": torch.zeros(1)}, "keys that the model does not have: control_model.weight"),
        (
            {"first_stage_model.mid_Cross.q.weight": None},
            "lacks weights or has them in other shapes .*attention.q.weight",
        ),
        (
            {"first_stage_model_gt.quantize.embedding.weight": None},
            "lacks keys of the model: quantize.embedding.weight",
        ),
    ],
)
def test_a_key_too_many_or_too_few_is_named(tmp_path, changes, complaint):
    tensors = ldbfr_state_dict() | changes
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, tmp_path / "ldbfr.ckpt")
    with pytest.raises(CheckpointError, match=complaint):
        import_ldbfr(tmp_path / "ldbfr.ckpt", tmp_path / "model", resolution=64)


def test_a_denoiser_without_injections_on_the_way_down_is_refused(tmp_path):
    tensors = {key: tensor for key, tensor in ldbfr_state_dict().items() if "cross_conv_1" not in key}
    torch.save(tensors, tmp_path / "ldbfr.ckpt")
    assert "lacks keys of the model: input_blocks.*.cross_conv_1" in sentence_of(
        tmp_path / "ldbfr.ckpt", tmp_path / "m"
    )


def test_a_checkpoint_of_the_other_family_is_refused_by_its_family(checkpoint, tmp_path):
    refldm, vqgan = GOLDEN / "refldm-mini" / "refldm.ckpt", GOLDEN / "refldm-mini" / "vqgan.ckpt"
    sentence = sentence_of(refldm, tmp_path / "model")
    assert "refldm.ckpt seems to be a latent-diffusion denoiser" in sentence
    assert "but a whole model of LD-BFR" in sentence
    assert "seems to be a VQGAN autoencoder" in sentence_of(vqgan, tmp_path / "model")
    with pytest.raises(CheckpointError, match="seems to be a whole model of LD-BFR"):
        import_refldm(checkpoint, vqgan, tmp_path / "model")
    parts = read_state_dict(checkpoint).items()
    restoring = {key.removeprefix("first_stage_model."): value for key, value in parts if "first_stage_model." in key}
    torch.save(restoring, tmp_path / "stage1.ckpt")
    assert "seems to be the restoring VQGAN of LD-BFR" in sentence_of(tmp_path / "stage1.ckpt", tmp_path / "model")


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_a_truncated_file_is_refused(checkpoint, tmp_path, size):
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:size])
    assert "download it again" in sentence_of(tmp_path / "cut.ckpt", tmp_path / "model")
