"""Denoiser and decoder trained together: what is judged how, and exact resuming."""

from pathlib import Path
from typing import cast

import pytest
import torch
from networks import MODEL_UNET
from safetensors.torch import load_file
from tiny_runs import DECODER, items_of, same_weights, tiny_end_to_end

from faceref.checkpoints.store import load_blind, load_pipeline, read_info, save_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.unet import ReferenceUNet
from faceref.pipelines.refldm import ReFLDMPipeline
from faceref.pipelines.sampling import make_sampler
from faceref.training.run import train_from
from faceref.training.stages.components import new_identity_encoder
from faceref.training.stages.end_to_end import EndToEndStage
from faceref.training.trainer import checkpoint_gradients


def test_a_model_gains_a_decoder_and_stays_what_it_was(photographs: Path, tmp_path: Path, one_step_model):
    train_from(tiny_end_to_end(photographs, one_step_model), tmp_path / "once")
    once = tmp_path / "once" / "model"
    train_from(tiny_end_to_end(photographs, once), tmp_path / "twice")
    twice = tmp_path / "twice" / "model"
    assert read_info(once).resolution == read_info(twice).resolution == 128, "it draws twice what it was"
    assert (read_info(one_step_model).steps, read_info(one_step_model).guidance) == (2, 1.5)
    assert (read_info(once).steps, read_info(once).guidance) == (1, 1.0), "as it was trained"
    sampler = make_sampler(load_pipeline(once)[0].scheduler, None, 1)
    assert sampler.timesteps.tolist() == [999], "where there is nothing but noise"
    assert all(same_weights(place / "vae", one_step_model / "vae") for place in (once, twice))
    learnt = [once / "unet", twice / "unet", twice / "detail"]
    before = [one_step_model / "unet", once / "unet", once / "detail"]
    assert not any(same_weights(*pair) for pair in zip(learnt, before, strict=True))
    begun, ended = (load_file(place / "detail" / "diffusion_pytorch_model.safetensors") for place in (once, twice))
    far = [(ended[name] - weight).abs().max() for name, weight in begun.items()]
    assert max(far) < 0.01, "beginning from the one before"


def test_the_decoder_learns_of_the_latents_that_the_pipeline_gives_it(photographs: Path, one_step_model: Path):
    stage = built(photographs, one_step_model)
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    passed_on = {"latents": batch["noise"], "num_inference_steps": 1, "output_type": "latent"}
    given = stage.pipeline(batch["lq"], **passed_on).images
    with torch.no_grad():
        learnt = stage.denoise(batch, batch["counts"][:, :0])
    torch.testing.assert_close(given, learnt)


def test_a_stop_and_a_finish_are_one_straight_run_to_the_bit(
    photographs: Path, tmp_path: Path, one_step_model, recogniser
):
    weights = {"identity": 0.1, "coarse": 1.0}
    config = tiny_end_to_end(photographs, one_step_model, weights=weights, recogniser=recogniser)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "halves", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "halves", resume=True).finished
    assert same_weights(tmp_path / "straight" / "model" / "detail", tmp_path / "halves" / "model" / "detail")


def test_a_decoder_that_is_asked_for_takes_the_place_of_the_models_own(
    photographs: Path, tmp_path: Path, one_step_model
):
    train_from(tiny_end_to_end(photographs, one_step_model), tmp_path / "once")
    wider = DECODER | {"channels": (64, 16, 8, 8)}
    train_from(tiny_end_to_end(photographs, tmp_path / "once" / "model", detail=wider), tmp_path / "twice")
    info = read_info(tmp_path / "twice" / "model")
    detail = load_pipeline(tmp_path / "twice" / "model")[0].detail
    assert detail is not None
    assert detail.config["channels"] == [64, 16, 8, 8]
    assert info.crisp is None, "which no model has whose decoder is shown no texture"
    assert load_blind(tmp_path / "twice" / "model") is not None, "as the model that it began from"


def built(photographs: Path, model: Path, **settings) -> EndToEndStage:
    torch.manual_seed(0)
    return EndToEndStage.build(tiny_end_to_end(photographs, model, **settings), cast(FaceDataset, None))


def test_another_denoiser_brings_what_tells_it_whom_references_show(photographs: Path, tmp_path: Path, one_step_model):
    parts = load_pipeline(one_step_model)[0].components
    for name, centre in (("model", 1.0), ("other", 2.0)):
        encoder = new_identity_encoder()
        encoder.centre.fill_(centre)
        told = ReferenceUNet(**MODEL_UNET, identity_size=128)
        save_model(
            ReFLDMPipeline(**parts | {"unet": told, "identity_encoder": encoder}),
            read_info(one_step_model),
            tmp_path / name,
        )
    told.save_pretrained(tmp_path / "alone")
    other = tmp_path / "other"
    for unet, centre in ((other, 2.0), (other / "unet", 2.0), (tmp_path / "alone", 1.0), (None, 1.0)):
        encoder = built(photographs, tmp_path / "model", unet=unet).pipeline.identity_encoder
        assert encoder is not None
        assert (encoder.centre == centre).all(), unet


def test_what_is_no_example_of_detail_is_compared_at_half_the_size(photographs: Path, one_step_model):
    stage = built(photographs, one_step_model, weights={"coarse": 1.0}, latent=0)
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    stripes = 0.2 * torch.tensor([1.0, -1.0]).repeat(64)  # of one pixel: gone at half the size
    _, as_it_is = stage(batch, torch.Generator(), 0, "generator")
    for coarse, same in ((torch.ones(4) > 0, True), (torch.zeros(4) > 0, False)):
        judged = batch | {"coarse": coarse}
        _, numbers = stage(judged, torch.Generator(), 0, "generator")
        _, striped = stage(judged | {"hq": batch["hq"] + stripes}, torch.Generator(), 0, "generator")
        assert striped["half"].item() == pytest.approx(numbers["half"].item(), rel=1e-4)
        assert (striped["l1"].item() == numbers["l1"].item()) is same
    assert as_it_is["half"] > 0


def test_any_number_of_references_is_shown_and_none_in_a_share_of_the_samples(photographs: Path, one_step_model):
    stage = built(photographs, one_step_model, reference_dropout=0.5)
    items = items_of(64)
    generator = torch.Generator().manual_seed(0)
    counts = stage._counts(items["has_references"], 2, generator)
    shown = counts.sum(1)
    assert (shown[~items["has_references"]] == 0).all()
    of_those = shown[items["has_references"]]
    assert {0.0, 1.0, 2.0} == set(of_those.tolist())
    assert 8 < (of_those == 0).sum() < 24
    everything = stage.eval()._counts(items["has_references"], 2, generator)
    assert torch.equal(everything, items["has_references"].float()[:, None].expand(-1, 2))


def test_denoiser_and_decoder_learn_from_what_is_drawn(photographs: Path, one_step_model, recogniser):
    weights = {"identity": 0.1, "coarse": 1.0}
    stage = built(photographs, one_step_model, weights=weights, recogniser=recogniser)
    torch.nn.init.normal_(stage.detail.conv_out.weight, std=0.1)  # at first its other layers do not count
    batch = stage.make_batch(items_of(), torch.Generator().manual_seed(0))
    loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
    loss.backward()
    silent = [name for name, weight in stage.trained.named_parameters() if weight.grad is None]
    assert not silent
    assert all(weight.grad.isfinite().all() for weight in stage.trained.parameters() if weight.grad is not None)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"recogniser": None, "weights": {"identity": 1.0}}, "weights.identity needs a recogniser"),
        ({"detail": {"latent_channels": 4, "patch_size": 16}}, "The decoder cannot be built"),
        ({"detail": DECODER | {"patch_size": 4, "channels": (8, 8, 8), "residual_blocks": (0, 0, 0)}}, "draws 64 px"),
        ({"detail": DECODER | {"textured": True}}, "shown texture, unlike any of the stage end_to_end"),
    ],
)
def test_settings_that_do_not_fit_are_refused(photographs: Path, tmp_path: Path, one_step_model, settings, reason):
    with pytest.raises(UsageError, match=reason):
        train_from(tiny_end_to_end(photographs, one_step_model, **settings), tmp_path / "run")


def test_memory_can_be_saved_in_the_denoiser(photographs: Path, one_step_model):
    stage = built(photographs, one_step_model)
    checkpoint_gradients(stage)
    assert stage.unet.is_gradient_checkpointing


def test_a_denoiser_that_predicts_the_noise_is_refused(photographs: Path, tmp_path: Path, tiny_model):
    with pytest.raises(UsageError, match="does not predict the clean latent; give one that does"):
        train_from(tiny_end_to_end(photographs, tiny_model), tmp_path / "run")


def test_a_model_with_a_decoder_restores_at_its_size(photographs: Path, tmp_path: Path, one_step_model):
    train_from(tiny_end_to_end(photographs, one_step_model), tmp_path)
    pipeline = cast(ReFLDMPipeline, load_pipeline(tmp_path / "model")[0])
    lq, reference = torch.rand(2, 1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def restore(**options) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        options = {"num_inference_steps": 1, "output_type": "raw"} | options
        return cast(torch.Tensor, pipeline(lq, [reference], generator=generator, **options).images)

    assert restore().shape == lq.shape
    assert restore(output_type="latent").shape == (1, 4, 16, 16)
