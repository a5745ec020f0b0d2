"""LD-BFR's models: the original's numbers, a U-Net that injections leave untouched at first, no mixing of features."""

import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel, VQModel
from safetensors.torch import load_file

from faceref.errors import UsageError
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.injection import DownInjection, UpInjection, to_size
from faceref.models.ldbfr import DualCrossAttention, InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.models.unet import ReferenceUNet

GOLDEN = Path(__file__).parents[1] / "golden" / "ldbfr-dual-attention.safetensors"

UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 16,
}
FEATURES = {"feature_channels": 32, "feature_size": 4}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def unet() -> InjectedUNet:
    torch.manual_seed(0)
    return InjectedUNet(in_channels=3, out_channels=3, **UNET, **FEATURES).eval()


@pytest.fixture
def trained(unet) -> InjectedUNet:
    """As after training: no injection is zero any more."""
    fill_zeros(unet)
    return unet


@pytest.fixture
def vq() -> VQModel:
    torch.manual_seed(0)
    return VQModel(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(32, 32, 64),
        latent_channels=16,
        num_vq_embeddings=32,
    )


def fill_zeros(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".inject." in name and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)


def test_dual_cross_attention_agrees_with_the_original_program():
    golden = load_file(GOLDEN)
    attention = DualCrossAttention(64)
    attention.load_state_dict({name: golden[name] for name in attention.state_dict()})
    with torch.no_grad():
        output = attention(golden["input_q"], golden["input_h"])
    torch.testing.assert_close(output, golden["output"], rtol=0, atol=1e-5)


def test_dual_cross_attention_in_half_precision_survives_large_features():
    torch.manual_seed(0)
    attention = DualCrossAttention(16).half()
    assert attention(draw(1, 16, 16, 16).half(), 50 * draw(1, 16, 16, 16, seed=1).half()).isfinite().all()


def test_dual_cross_attention_survives_them_in_autocast_too_as_training_has_it():
    torch.manual_seed(0)
    attention, q, h = DualCrossAttention(16), draw(1, 16, 16, 16), 50 * draw(1, 16, 16, 16, seed=1)
    with torch.no_grad():
        exact = attention(q, h)
        with torch.autocast("cpu", torch.float16):
            repaired = attention(q, h)
    assert (repaired - exact).abs().mean() < 0.02 * exact.abs().mean()


@pytest.mark.parametrize("kind", ["vq", "pixel_unshuffle"])
def test_restoring_vq_decodes_the_repaired_features_and_not_the_quantised_ones(vq, kind):
    autoencoder = vq if kind == "vq" else PixelUnshuffleVQModel(8, base_channels=32, latent_channels=16)
    model = RestoringVQModel.from_autoencoder(autoencoder).eval()
    lq = draw(2, 3, 32, 32)
    size = 32 // model.downsampling
    with torch.no_grad():
        output = model(lq)
        h = autoencoder.encode(lq).latents
        q = autoencoder.quantize(h)[0]
        assert output.features.shape == (2, 16, size, size)
        assert torch.equal(output.features, model.attention(q, h))
        quantised = autoencoder.decode(q, force_not_quantize=True).sample
        assert not torch.allclose(output.sample, quantised, atol=1e-3)
        for parameter in model.attention.proj_out.parameters():
            parameter.zero_()
        torch.testing.assert_close(model(lq).sample, quantised)  # without it, the autoencoder that it began as


def test_restoring_vq_passes_gradients_to_attention_and_encoder(vq):
    model = RestoringVQModel.from_autoencoder(vq)
    output = model(draw(1, 3, 32, 32))
    (output.sample.square().mean() + output.codebook_loss).backward()
    for name in ("attention.q.weight", "autoencoder.encoder.conv_in.weight", "autoencoder.quantize.embedding.weight"):
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert gradient.any(), name


def test_restoring_vq_is_saved_with_its_autoencoder(vq, tmp_path):
    model = RestoringVQModel.from_autoencoder(vq, heads=4).eval()
    model.save_pretrained(tmp_path)
    again = RestoringVQModel.from_pretrained(tmp_path)
    assert again.attention.heads == 4
    with torch.no_grad():
        torch.testing.assert_close(again(draw(1, 3, 32, 32)).sample, model(draw(1, 3, 32, 32)).sample)


def test_features_have_the_size_asked_for_whatever_the_size_of_the_picture(vq):
    model = RestoringVQModel.from_autoencoder(vq).eval()
    with torch.no_grad():
        large = model.features(F.interpolate(draw(1, 3, 32, 32), size=64, mode="bilinear"), 16)
        assert model.features(draw(1, 3, 32, 32), 16).shape == (1, 16, 16, 16)
        torch.testing.assert_close(model.features(draw(1, 3, 32, 32), 16), large)


def test_released_sizes_meet_at_the_injections():
    """PAPERS.md: q' is 256x16x16, 64x32x32 at downsampling 2; U-Net 224 [1, 2, 3, 4] with 32 channels a head."""
    with torch.device("meta"):
        unet = InjectedUNet(
            **UNET | {"sample_size": 64, "block_out_channels": (224, 448, 672, 896), "attention_head_dim": 32}
        )
    injections = {
        name: (type(module).__name__, module.modulation.in_features)
        if isinstance(module, UpInjection)
        else (type(module).__name__, module.conv_1.in_channels)
        for name, module in unet.named_modules()
        if isinstance(module, DownInjection | UpInjection)
    }
    assert injections == {
        "down_blocks.1.attentions.0.processor.inject": ("DownInjection", 448 + 64),
        "down_blocks.2.attentions.0.processor.inject": ("DownInjection", 672 + 256),
        "up_blocks.1.attentions.0.processor.inject": ("UpInjection", 672 + 256),
        "up_blocks.1.attentions.1.processor.inject": ("UpInjection", 672 + 256),
        "up_blocks.2.attentions.0.processor.inject": ("UpInjection", 448 + 64),
        "up_blocks.2.attentions.1.processor.inject": ("UpInjection", 448 + 64),
    }


@pytest.mark.parametrize(("size", "shape"), [(32, (64, 32, 32)), (16, (256, 16, 16)), (8, (1024, 8, 8))])
def test_features_keep_their_numbers_and_places_at_other_sizes(size, shape):
    features = torch.arange(16 * 16.0).reshape(1, 1, 16, 16).repeat(1, 256, 1, 1)  # the place, in every channel
    resized = to_size(features, size)
    assert resized.shape[1:] == shape
    assert torch.equal(resized.sort().values.unique(), features.unique())
    torch.testing.assert_close(F.adaptive_avg_pool2d(resized, 8).mean(1), F.adaptive_avg_pool2d(features, 8).mean(1))


def test_at_initialisation_the_unet_is_untouched_to_the_bit(unet):
    plain = UNet2DModel(in_channels=3, out_channels=3, **UNET).eval()
    plain.load_state_dict({name: unet.state_dict()[name] for name in plain.state_dict()})
    sample, features = draw(2, 3, 16, 16), draw(2, 32, 4, 4, seed=1)
    with torch.no_grad():
        assert torch.equal(unet(sample, 500, features).sample, plain(sample, 500).sample)


@pytest.mark.parametrize("part", ["down_blocks.1", "down_blocks.2", "up_blocks.1", "up_blocks.2"])
def test_each_injection_by_itself_makes_the_features_matter(unet, part):
    fill_zeros(unet.get_submodule(part))
    sample, one, other = draw(1, 3, 16, 16), draw(1, 32, 4, 4, seed=1), draw(1, 32, 4, 4, seed=2)
    with torch.no_grad():
        difference = unet(sample, 500, one).sample - unet(sample, 500, other).sample
    assert difference.abs().max() > 1e-3


def test_features_act_where_they_are(trained):
    """Position by position on the way up, by convolution on the way down: a change on the left is felt most there."""
    injection = trained.get_submodule("down_blocks.2.attentions.0.processor.inject")
    x, features = draw(1, 64, 4, 4), draw(1, 32, 4, 4, seed=1)
    changed = features.clone()
    changed[..., 0] += 1
    with torch.no_grad():
        felt = (injection(x, changed) - injection(x, features)).abs().mean(dim=(0, 1, 2))
    assert felt[0] > felt[3]


def test_an_images_result_depends_on_its_own_features_only(trained):
    sample, features = draw(2, 3, 16, 16), draw(2, 32, 4, 4, seed=1)
    with torch.no_grad():
        together = trained(sample, 500, features).sample
        alone = torch.cat([trained(sample[i : i + 1], 500, features[i : i + 1]).sample for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_two_threads_with_two_features_never_mix(trained):
    sample = draw(1, 3, 16, 16)
    features = [draw(1, 32, 4, 4, seed=seed) for seed in range(2)]
    with torch.no_grad():
        alone = [trained(sample, 500, one).sample for one in features]
    together: list[list[torch.Tensor]] = [[], []]
    start = threading.Barrier(2)

    @torch.no_grad()
    def run(which: int) -> None:
        start.wait()
        together[which] = [trained(sample, 500, features[which]).sample for _ in range(5)]

    threads = [threading.Thread(target=run, args=[which]) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not torch.equal(*alone)
    assert all(torch.equal(one, alone[which]) for which in range(2) for one in together[which])


def test_nothing_is_left_in_the_network_after_a_call_that_fails(trained):
    sample, features = draw(1, 3, 16, 16), draw(1, 32, 4, 4, seed=1)
    with torch.no_grad():
        before = trained(sample, 500, None).sample
        with pytest.raises(RuntimeError):
            trained(draw(1, 5, 16, 16), 500, features)
        assert torch.equal(trained(sample, 500, None).sample, before)


def test_an_injected_unet_is_saved_with_its_injections(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    again = InjectedUNet.from_pretrained(tmp_path).eval()
    assert (again.config["feature_channels"], again.config["feature_size"]) == (32, 4)
    sample, features = draw(1, 3, 16, 16), draw(1, 32, 4, 4, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(again(sample, 500, features).sample, trained(sample, 500, features).sample)


@pytest.mark.parametrize("features", [{"feature_size": 3}, {"feature_channels": 6, "feature_size": 4}])
def test_features_that_fit_no_size_are_refused_with_one_sentence(features):
    with pytest.raises(UsageError, match="cannot be brought to 8x8 by pixel shuffle"):
        InjectedUNet(in_channels=3, out_channels=3, **UNET, **features)


def test_injections_leave_reference_attention_as_it_is():
    torch.manual_seed(0)
    sizes = UNET | {"in_channels": 6, "out_channels": 3}
    both = InjectedReferenceUNet(**sizes, **FEATURES, distance_bias=True).eval()
    plain = ReferenceUNet(**sizes, distance_bias=True).eval()
    plain.load_state_dict({name: both.state_dict()[name] for name in plain.state_dict()})
    assert both.attention_layers == plain.attention_layers
    sample, features, references = draw(1, 6, 16, 16), draw(1, 32, 4, 4, seed=1), draw(1, 2, 3, 16, 16, seed=2)
    with torch.no_grad():
        cache = both.encode_references(references)
        assert torch.equal(both(sample, 500, cache, features).sample, plain(sample, 500, cache).sample)
        fill_zeros(both)
        injected = both(sample, 500, cache, features).sample
        assert not torch.allclose(injected, both(sample, 500, cache).sample, atol=1e-3)
        assert torch.equal(both.encode_references(references).keys[0], cache.keys[0]), "references have no features"


def test_an_injected_reference_unet_is_saved_with_all_its_settings(tmp_path):
    sizes = UNET | {"in_channels": 6, "out_channels": 3}
    InjectedReferenceUNet(**sizes, **FEATURES, distance_bias=True).save_pretrained(tmp_path)
    config = InjectedReferenceUNet.from_pretrained(tmp_path).config
    assert (config["distance_bias"], config["feature_channels"], config["in_channels"]) == (True, 32, 6)
