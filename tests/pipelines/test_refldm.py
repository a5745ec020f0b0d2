"""ReF-LDM's pipeline: agreement with the original program, and what must hold whatever the weights."""

import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from golden_model import restore
from PIL import Image

from faceref.errors import CheckpointError, UsageError
from faceref.models.fusion import PixelFusion
from faceref.pipelines.refldm import ReFLDMPipeline


def assert_agree(actual, expected):
    """Within 1e-4 of the standard deviation, the tolerance that golden/README.md gives for float32."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * expected.std().item())


@pytest.fixture(params=["mini", "tiny"])
def golden(request):
    return request.getfixturevalue(request.param)


def test_network_agrees_with_the_original_program(golden):
    pipeline, expected = golden
    cache = pipeline.encode_references(expected["reference_images"], joint=True)
    with torch.no_grad():
        assert_agree(pipeline.vae.encode(expected["lq_image"]).latents, expected["lq_latent"])
        sample = torch.cat([expected["x_T"], expected["lq_latent"]], dim=1)
        assert_agree(pipeline.unet(sample, 500, cache).sample, expected["eps_t500"])


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@pytest.mark.parametrize(("output_type", "tensor"), [("latent", "latent_cfg"), ("raw", "image_cfg")])
def test_restoration_agrees_with_the_original_program(golden, guidance, output_type, tensor):
    pipeline, expected = golden
    result = pipeline(
        expected["lq_image"],
        pipeline.encode_references(expected["reference_images"], joint=True),
        guidance_scale=guidance,
        num_inference_steps=4,
        latents=expected["x_T"],
        output_type=output_type,
    )
    assert_agree(result.images, expected[f"{tensor}{guidance}"])


def test_separate_encoding_of_references_differs_from_the_joint_one(mini):
    pipeline, expected = mini
    references = expected["reference_images"]
    separate, joint = pipeline.encode_references(references), pipeline.encode_references(references, joint=True)
    assert not torch.allclose(separate.keys[0], joint.keys[0], rtol=1e-2)


def test_reference_order_does_not_change_the_result(mini):
    pipeline, expected = mini
    lq, references = expected["lq_image"], expected["reference_images"]
    torch.testing.assert_close(restore(pipeline, lq, [references]), restore(pipeline, lq, [references.flip(0)]))


def test_references_change_the_result(mini):
    pipeline, expected = mini
    lq, references = expected["lq_image"], expected["reference_images"]
    first, second = restore(pipeline, lq, [references[:1]]), restore(pipeline, lq, [references[1:2]])
    assert (first - second).abs().mean() > 1e-3


def test_cached_references_give_the_same_bytes_as_photographs(mini):
    pipeline, expected = mini
    lq, references = expected["lq_image"], expected["reference_images"]
    cache = pipeline.encode_references(references)
    for given in (cache, [cache]):
        assert torch.equal(restore(pipeline, lq, given), restore(pipeline, lq, [references]))


def test_guidance_starts_from_the_null_cache_and_not_from_an_empty_one(mini):
    pipeline, expected = mini
    lq, references = expected["lq_image"], expected["reference_images"]
    towards_null = restore(pipeline, lq, [references], guidance_scale=0.0, output_type="latent")
    without = restore(pipeline, lq, None, output_type="latent")
    assert (towards_null - without).abs().mean() > 1e-3


def test_by_how_much_guidance_in_an_interval_changes_a_result(mini):
    """The golden model's weights are random: in it the first steps, of nearly pure noise, decide."""
    pipeline, expected = mini
    lq, references = expected["lq_image"], [expected["reference_images"]]
    always = restore(pipeline, lq, references, num_inference_steps=10)
    never = restore(pipeline, lq, references, num_inference_steps=10, guidance_scale=1.0)

    def change(*interval: float) -> float:
        part = restore(pipeline, lq, references, num_inference_steps=10, guidance_interval=interval)
        return ((part - always).std() / (never - always).std()).item()

    assert change(0.0, 1.0) == 0
    assert change(0.2, 1.0) < 1e-4  # of what guidance changes in all
    assert change(0.0, 0.9) > 0.5
    assert change(0.0005, 0.0006) == pytest.approx(1)  # no step lies there


def test_steps_outside_the_interval_take_one_evaluation(mini, monkeypatch):
    pipeline, expected = mini
    calls: list[int] = []
    forward_each = pipeline.unet.forward_each

    def counted(sample, timestep, *given):
        calls.append(int(timestep))
        return forward_each(sample, timestep, *given)

    monkeypatch.setattr(pipeline.unet, "forward_each", counted)
    references = [expected["reference_images"]]
    restore(pipeline, expected["lq_image"], references, num_inference_steps=10, guidance_interval=(0.2, 0.8))
    assert calls == [799, 699, 599, 499, 399, 299]  # of 999, 899, ..., 99; at most 0.8 of 999


@pytest.mark.parametrize("interval", [(0.8, 0.2), (-0.1, 1), (0, 1.1)])
def test_an_impossible_interval_is_refused(mini, interval):
    pipeline, expected = mini
    with pytest.raises(UsageError, match="Guidance in the interval"):
        restore(pipeline, expected["lq_image"], [expected["reference_images"]], guidance_interval=interval)


def test_without_references_guidance_does_nothing_and_the_log_says_so(mini, caplog):
    pipeline, expected = mini
    with caplog.at_level(logging.INFO, logger="faceref"):
        plain = restore(pipeline, expected["lq_image"], None, guidance_scale=1.0)
    assert "No reference photographs" in caplog.text
    assert torch.equal(plain, restore(pipeline, expected["lq_image"], [[]], guidance_scale=3.0))


def test_two_threads_with_two_people_give_the_bytes_of_one_after_the_other(mini):
    pipeline, expected = mini
    lq, references = expected["lq_image"], expected["reference_images"]
    people = [pipeline.encode_references(references[:2]), pipeline.encode_references(references[2:])]
    # Both threads meet after every denoising step, so that their passes through the network do interleave.
    meeting = threading.Barrier(2)

    def restore_in_company(person):
        def wait(*_):
            meeting.wait(timeout=60)

        return restore(pipeline, lq, person, num_inference_steps=8, callback_on_step_end=wait)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(restore_in_company, people))
    alone = [restore(pipeline, lq, person, num_inference_steps=8) for person in people]
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(together[0], alone[0])
    assert torch.equal(together[1], alone[1])


def test_same_seed_gives_the_same_pixels_and_another_seed_others(mini):
    pipeline, expected = mini
    first, again, other = (restore(pipeline, expected["lq_image"], None, seeds=(seed,)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "unipc"])
def test_other_schedulers_reach_the_same_picture_as_ddim(mini, scheduler):
    """All three solve the same equation: with many steps they meet, much closer than two noises' results are."""
    pipeline, expected = mini
    lq, references = expected["lq_image"], [expected["reference_images"]]
    ddim = restore(pipeline, lq, references, num_inference_steps=100, output_type="latent")
    other = restore(pipeline, lq, references, num_inference_steps=25, scheduler=scheduler, output_type="latent")
    another_noise = restore(pipeline, lq, references, seeds=(1,), num_inference_steps=25, output_type="latent")
    assert (ddim - other).norm() < 0.1 * (ddim - another_noise).norm()


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_prediction_type_and_zero_terminal_snr_come_from_the_scheduler(mini, prediction_type):
    """One step from pure noise at zero signal: x0 is the network's output itself (sample) or its negative (v)."""
    pipeline, expected = mini
    scheduler: Any = DDIMScheduler.from_config(
        pipeline.scheduler.config, prediction_type=prediction_type, rescale_betas_zero_snr=True
    )
    pipeline = ReFLDMPipeline(unet=pipeline.unet, vae=pipeline.vae, scheduler=scheduler)
    cache = pipeline.encode_references(expected["reference_images"])
    null = pipeline.unet.encode_references(torch.zeros_like(expected["lq_latent"])[:, None].expand(-1, 3, -1, -1, -1))
    sample = torch.cat([expected["x_T"], expected["lq_latent"]], dim=1)
    with torch.no_grad():
        towards, away = pipeline.unet(sample, 999, cache).sample, pipeline.unet(sample, 999, null).sample
    output = away + 2.0 * (towards - away)
    clean = output if prediction_type == "sample" else -output
    alpha_bar = scheduler.alphas_cumprod[0]  # one step ends here; at zero signal x_T is all noise
    result = pipeline(
        expected["lq_image"],
        cache,
        guidance_scale=2.0,
        num_inference_steps=1,
        latents=expected["x_T"],
        output_type="latent",
    ).images
    torch.testing.assert_close(
        result, alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * expected["x_T"], rtol=1e-4, atol=1e-4
    )


def test_pictures_in_and_out(mini):
    pipeline, expected = mini

    def to_picture(tensor):
        return Image.fromarray(((tensor.permute(1, 2, 0).clip(-1, 1) + 1) * 127.5).round().byte().numpy())

    lq, reference = to_picture(expected["lq_image"][0]), to_picture(expected["reference_images"][0])
    (picture,) = restore(pipeline, [lq], [[reference]], output_type="pil")
    as_tensor = torch.from_numpy(np.array(lq)).permute(2, 0, 1)[None] / 127.5 - 1
    reference_tensor = torch.from_numpy(np.array(reference)).permute(2, 0, 1)[None] / 127.5 - 1
    tensor = restore(pipeline, as_tensor, [reference_tensor])[0]
    difference = np.abs(np.asarray(picture).astype(int) - np.asarray(to_picture(tensor)).astype(int))
    assert picture.size == (32, 32)
    assert difference.max() <= 1  # rounding


def test_callback_sees_every_step_and_can_stop_the_restoration(mini):
    pipeline, expected = mini
    seen = []

    def stop_at_two(asked, step, timestep, values):
        assert asked is pipeline
        seen.append((step, int(timestep), tuple(values["latents"].shape)))
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(pipeline, expected["lq_image"], None, num_inference_steps=3, callback_on_step_end=stop_at_two)
    assert [(step, shape) for step, _, shape in seen] == [(0, (1, 8, 16, 16)), (1, (1, 8, 16, 16))]
    assert seen[0][1] > seen[1][1]


def test_saved_pipeline_gives_the_same_pixels(mini, tmp_path):
    pipeline, expected = mini
    pipeline.save_pretrained(tmp_path)
    again = ReFLDMPipeline.from_pretrained(tmp_path)
    lq, references = expected["lq_image"], [expected["reference_images"]]
    assert torch.equal(restore(again, lq, references), restore(pipeline, lq, references))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_inference_steps": 0}, "0 denoising steps are not possible; choose 1 to 1000."),
        ({"num_inference_steps": 1001}, "1001 denoising steps are not possible; choose 1 to 1000."),
        ({"scheduler": "euler"}, "There is no scheduler 'euler'; choose one of ddim, dpmsolver++, unipc."),
        ({"guidance_scale": -1.0}, "A guidance of -1.0 is not possible; give 0 or more, 1 for none."),
        ({"guidance_scale": float("nan")}, "A guidance of nan is not possible; give 0 or more, 1 for none."),
    ],
)
def test_impossible_settings_are_refused_with_one_sentence(mini, options, sentence):
    pipeline, expected = mini
    with pytest.raises(UsageError) as error:
        restore(pipeline, expected["lq_image"], None, **options)
    assert str(error.value) == sentence


def test_references_for_another_number_of_faces_are_refused(mini):
    pipeline, expected = mini
    with pytest.raises(ValueError, match="references for 2 faces were given with 1 faces"):
        restore(pipeline, expected["lq_image"], [expected["reference_images"]] * 2)


def test_a_folder_that_names_foreign_code_is_refused(mini_folder, tmp_path):
    shutil.copytree(mini_folder, tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(index.read_text().replace('"ReferenceUNet"', '"system"').replace("faceref.models.unet", "os"))
    with pytest.raises(CheckpointError, match="a component that faceref does not know: 'system'"):
        ReFLDMPipeline.from_pretrained(tmp_path / "model")


def test_a_fusion_corrects_the_decoded_face_by_the_low_quality_one(mini_folder, tmp_path):
    plain = ReFLDMPipeline.from_pretrained(mini_folder)
    fusion = PixelFusion(channels=32, residual_blocks=1)
    torch.nn.init.normal_(fusion.conv_out.weight, std=0.1)
    ReFLDMPipeline(plain.unet, plain.vae, plain.scheduler, fusion=fusion).save_pretrained(tmp_path)
    fused = ReFLDMPipeline.from_pretrained(tmp_path)
    lq = torch.rand(2, 3, 32, 32) * 2 - 1

    with torch.no_grad():
        wanted = fusion(restore(plain, lq, None, (0, 1)), lq)
    torch.testing.assert_close(restore(fused, lq, None, (0, 1)), wanted, rtol=1e-3, atol=1e-4)
    latents = [restore(each, lq, None, (0, 1), output_type="latent") for each in (fused, plain)]
    torch.testing.assert_close(*latents, rtol=1e-3, atol=1e-4)
