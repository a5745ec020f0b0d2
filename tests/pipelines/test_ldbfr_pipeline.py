"""LD-BFR's pipeline: what holds whatever the weights, and repaired features in ReF-LDM."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, VQModel
from PIL import Image

from faceref.errors import CheckpointError, UsageError
from faceref.models.autoencoder import PixelUnshuffleVQModel
from faceref.models.fusion import PixelFusion
from faceref.models.ldbfr import InjectedReferenceUNet, InjectedUNet, RestoringVQModel
from faceref.pipelines.ldbfr import LDBFRPipeline
from faceref.pipelines.refldm import ReFLDMPipeline

SCHEDULE = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "clip_sample": False}
UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 32, 32),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 16,
    "feature_channels": 16,
    "feature_size": 4,
}


def restoring_vq() -> RestoringVQModel:
    """Like the released one it looks at a picture twice as large as the one restored: 128 px -> 16x4x4."""
    autoencoder = VQModel(
        down_block_types=(*("DownEncoderBlock2D",) * 5, "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 5),
        block_out_channels=(32,) * 6,
        latent_channels=16,
        num_vq_embeddings=64,
    )
    torch.nn.init.normal_(autoencoder.quantize.embedding.weight)
    return RestoringVQModel.from_autoencoder(autoencoder)


def trained(unet: Any) -> Any:
    for name, parameter in unet.named_parameters():
        if ".inject." in name and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return unet


@pytest.fixture(scope="module")
def pipeline() -> LDBFRPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = PixelUnshuffleVQModel(4, base_channels=32, latent_channels=4, codebook_size=16)
        unet = trained(InjectedUNet(in_channels=4, out_channels=4, **UNET))
        pipeline = LDBFRPipeline(restoring_vq(), unet, vae, DDIMScheduler(**SCHEDULE))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def lq(astronaut) -> torch.Tensor:
    """Two different faces of 64 px, in [-1, 1]."""
    face = torch.from_numpy(np.array(astronaut.crop((160, 40, 288, 168)).resize((64, 64)))).permute(2, 0, 1)
    return torch.stack([face, face.flip(2)]) / 127.5 - 1


def restore(pipeline, lq, seeds=(0,), **options) -> Any:
    options = {"num_inference_steps": 2, "output_type": "raw"} | options
    return pipeline(lq, generator=[torch.Generator().manual_seed(seed) for seed in seeds], **options).images


def test_the_result_has_the_size_of_the_face_and_follows_it(pipeline, lq):
    one, other = (restore(pipeline, face[None]) for face in lq)
    assert one.shape == (1, 3, 64, 64)
    assert not torch.allclose(one, other, atol=1e-2), "the same noise: only the features differ"


def test_a_step_is_ddims_on_what_the_network_says_of_noise_and_features(pipeline, lq):
    """One step of DDIM (Song et al. 2021, eq. 12, sigma 0) from t = 0, where a single "leading" step begins, to 1."""
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = pipeline.vq(F.interpolate(lq[:1], size=(128, 128), mode="bilinear")).features
        epsilon = pipeline.unet(noise, 0, features).sample
    alpha_bar = 1 - 0.0015
    clean = (noise - (1 - alpha_bar) ** 0.5 * epsilon) / alpha_bar**0.5
    seen = []
    result = pipeline(
        lq[:1],
        num_inference_steps=1,
        latents=noise,
        output_type="latent",
        callback_on_step_end=lambda _, step, __, values: seen.append((step, values["latents"])),
    )
    torch.testing.assert_close(result.images, clean, rtol=1e-4, atol=1e-4)
    assert [(step, latents.shape) for step, latents in seen] == [(0, clean.shape)]


def test_a_fusion_corrects_the_result_by_the_face(pipeline, lq, tmp_path):
    fusion = PixelFusion(channels=32, residual_blocks=1)
    torch.nn.init.normal_(fusion.conv_out.weight, std=0.1)
    parts = pipeline.components | {"fusion": fusion}
    LDBFRPipeline(**parts).save_pretrained(tmp_path)
    fused = LDBFRPipeline.from_pretrained(tmp_path)
    with torch.no_grad():
        wanted = fusion(restore(pipeline, lq, (0, 1)), lq)
    torch.testing.assert_close(restore(fused, lq, (0, 1)), wanted, rtol=1e-3, atol=1e-4)
    half = LDBFRPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert restore(half, lq, (0, 1)).isfinite().all()
    (picture,) = restore(fused, lq[:1], output_type="pil")
    assert picture.size == (64, 64)


def test_a_faces_result_does_not_depend_on_its_neighbours(pipeline, lq):
    together = restore(pipeline, lq, seeds=(1, 2))
    alone = torch.cat([restore(pipeline, lq[i : i + 1], seeds=(i + 1,)) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_two_threads_with_two_faces_give_what_one_after_the_other_gives(pipeline, lq):
    alone = [restore(pipeline, lq[i : i + 1]) for i in range(2)]
    together: list[Any] = [None, None]
    start = threading.Barrier(2)

    def run(which: int) -> None:
        start.wait()
        together[which] = restore(pipeline, lq[which : which + 1])

    threads = [threading.Thread(target=run, args=[which]) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_stage_1_alone_restores_to_the_size_of_the_face(pipeline, lq):
    with torch.no_grad():
        expected = pipeline.vq(F.interpolate(lq, size=(128, 128), mode="bilinear"))
    smaller = F.interpolate(expected.sample, size=(64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(pipeline.restore_stage1(lq), smaller)


def test_references_and_guidance_towards_them_are_refused(pipeline, lq):
    assert not pipeline.takes_references
    for ask in (lambda: pipeline.encode_references(lq), lambda: restore(pipeline, lq[:1], references=[lq])):
        with pytest.raises(UsageError, match="cannot use any") as error:
            ask()
        assert error.value.code == "no_references"
    with pytest.raises(UsageError, match="no guidance towards them"):
        restore(pipeline, lq[:1], guidance_scale=1.5)
    torch.testing.assert_close(restore(pipeline, lq[:1], guidance_scale=1.0), restore(pipeline, lq[:1]))


def test_pictures_go_in_and_out(pipeline, lq):
    picture = Image.fromarray(((lq[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy())
    (result,) = restore(pipeline, [picture], output_type="pil")
    expected = ((restore(pipeline, lq[:1])[0].permute(1, 2, 0).clip(-1, 1) + 1) * 127.5).round().byte().numpy()
    assert np.abs(np.asarray(result).astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++", "unipc"])
def test_every_scheduler_restores(pipeline, lq, scheduler):
    assert restore(pipeline, lq[:1], scheduler=scheduler, num_inference_steps=3).isfinite().all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_inference_steps": 0}, "0 denoising steps are not possible; choose 1 to 1000."),
        ({"scheduler": "euler"}, "There is no scheduler 'euler'; choose one of ddim, dpmsolver++, unipc."),
    ],
)
def test_impossible_settings_are_refused_with_one_sentence(pipeline, lq, options, sentence):
    with pytest.raises(UsageError) as error:
        restore(pipeline, lq[:1], **options)
    assert str(error.value) == sentence


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ldbfr") / "model"
    pipeline.save_pretrained(folder)
    return folder


def test_a_saved_pipeline_restores_the_same(pipeline, folder, lq):
    again = LDBFRPipeline.from_pretrained(folder)
    torch.testing.assert_close(restore(again, lq[:1]), restore(pipeline, lq[:1]), rtol=1e-3, atol=1e-4)


def test_a_model_of_the_other_family_is_refused_by_its_name(folder):
    with pytest.raises(CheckpointError) as error:
        ReFLDMPipeline.from_pretrained(folder)
    assert str(error.value) == f"The model {folder} is for LDBFRPipeline, not for ReFLDMPipeline."


def test_a_folder_that_names_foreign_code_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"vq": ["os", "system"]}))
    with pytest.raises(CheckpointError, match="a component that faceref does not know: 'system'"):
        LDBFRPipeline.from_pretrained(tmp_path / "model")


@pytest.fixture(scope="module")
def injected_refldm() -> ReFLDMPipeline:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = trained(InjectedReferenceUNet(in_channels=8, out_channels=4, **UNET))
        vae = PixelUnshuffleVQModel(4, base_channels=32, latent_channels=4, codebook_size=16)
        return ReFLDMPipeline(unet, vae, DDIMScheduler(**SCHEDULE), restoring_vq())


def refldm(pipeline, lq, **options) -> Any:
    generator = torch.Generator().manual_seed(0)
    return pipeline(
        lq, [lq], guidance_scale=1.5, num_inference_steps=2, generator=generator, output_type="raw", **options
    ).images


def test_refldm_with_injection_starts_from_repaired_features(injected_refldm, lq):
    before = refldm(injected_refldm, lq[:1])
    attention = injected_refldm.vq.attention.proj_out
    with torch.no_grad():
        kept = attention.bias.clone()
        attention.bias += 1  # other features, everything else alike
        after = refldm(injected_refldm, lq[:1])
        attention.bias.copy_(kept)
    assert not torch.allclose(before, after, atol=1e-2)
    torch.testing.assert_close(refldm(injected_refldm, lq[:1]), before)


def test_refldm_with_injection_is_saved_with_its_restoring_vq(injected_refldm, lq, tmp_path):
    injected_refldm.save_pretrained(tmp_path)
    again = ReFLDMPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(refldm(again, lq[:1]), refldm(injected_refldm, lq[:1]), rtol=1e-3, atol=1e-4)


def test_injections_and_a_restoring_vq_need_each_other(injected_refldm, tmp_path):
    parts = injected_refldm.components | {"vq": None}
    with pytest.raises(ValueError, match="need each other"):
        ReFLDMPipeline(**parts)
    injected_refldm.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"vq": [None, None]}))
    with pytest.raises(CheckpointError, match="need each other"):
        ReFLDMPipeline.from_pretrained(tmp_path)
