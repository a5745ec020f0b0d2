"""Stages whose networks stay within low rank of the model that they begin from."""

from pathlib import Path
from typing import cast

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny_runs import items_of, same_weights, tiny_crisp, tiny_refldm

from faceref.checkpoints.store import load_pipeline, save_model
from faceref.data.dataset import FaceDataset
from faceref.errors import UsageError
from faceref.models.unet import ReferenceUNet
from faceref.training.export import export_step
from faceref.training.run import train_from
from faceref.training.stages.configs import DiffusionConfig
from faceref.training.stages.crisp import CrispStage

WEIGHTS = "diffusion_pytorch_model.safetensors"


def ranks(now: Path, then: Path) -> list[int]:
    """Of what the matrices of two networks differ by, that have more than 16 rows and columns."""
    weights, before = (load_file(folder / WEIGHTS) for folder in (now, then))
    wide = [name for name, value in weights.items() if value.ndim > 1 and min(len(value), value[0].numel()) > 16]
    return [int(torch.linalg.matrix_rank((weights[name] - before[name]).flatten(1), rtol=1e-3)) for name in wide]


def test_a_denoiser_goes_on_within_low_rank_and_may_be_stopped(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    train_from(config, tmp_path / "first")
    first = tmp_path / "first" / "model"
    again = config.model_dump() | {"initial": first, "unet": {}, "low_rank": {"rank": 2, "of": str(first)}}
    again["loop"] |= {"steps": 3}
    again = DiffusionConfig.model_validate(again)
    assert train_from(again, tmp_path / "straight").finished
    assert train_from(again, tmp_path / "parts", max_minutes=0).step == 1
    assert train_from(again, tmp_path / "parts", resume=True).finished
    unets = [tmp_path / run / "model" / "unet" for run in ("straight", "parts")]
    assert same_weights(*unets)
    assert set(ranks(unets[0], first / "unet")) == {2}
    assert export_step(tmp_path / "straight", 3, tmp_path / "exported") == 3
    assert same_weights(tmp_path / "exported" / "unet", unets[0])


@pytest.fixture(scope="module")
def with_texture(photographs: Path, one_step_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a textured decoder."""
    folder = tmp_path_factory.mktemp("runs") / "textured"
    train_from(tiny_crisp(photographs, one_step_model, steps=1), folder)
    return folder / "model"


def test_denoiser_and_decoder_learn_together_within_low_rank(photographs: Path, tmp_path: Path, with_texture: Path):
    low_rank = {"rank": 2, "of": str(with_texture)}
    loop = {"pool": {"samples": 4, "at_once": 2, "visits": 2}, "validate_every": 2, "validation_samples": 1}
    config = tiny_crisp(photographs, with_texture, steps=4, detail={}, unet_share=0.5, low_rank=low_rank, loop=loop)
    assert train_from(config, tmp_path / "straight").finished
    assert train_from(config, tmp_path / "parts", max_minutes=0).step == 1
    assert train_from(config, tmp_path / "parts", resume=True).finished
    for network in ("unet", "detail"):
        assert same_weights(tmp_path / "straight/model" / network, tmp_path / "parts/model" / network)
        found = ranks(tmp_path / "straight/model" / network, with_texture / network)
        assert max(found) == 2
    assert same_weights(tmp_path / "straight/model/vae", with_texture / "vae")


def test_a_model_may_be_given_another_denoiser(photographs: Path, tmp_path: Path, with_texture: Path):
    pipeline, info = load_pipeline(with_texture)
    with torch.no_grad():
        pipeline.unet.conv_in.weight += 0.1
    save_model(pipeline, info, tmp_path / "other")
    config = tiny_crisp(photographs, with_texture, steps=1, detail={}, unet=tmp_path / "other")
    train_from(config, tmp_path / "run")
    assert same_weights(tmp_path / "run/model/unet", tmp_path / "other/unet")


def test_a_denoiser_of_other_latents_is_refused(photographs: Path, tmp_path: Path, with_texture: Path):
    config = load_pipeline(with_texture)[0].unet.config
    ReferenceUNet(**dict(config) | {"sample_size": config["sample_size"] // 2}).save_pretrained(tmp_path / "other")
    told = tiny_crisp(photographs, with_texture, detail={}, unet=tmp_path / "other")
    with pytest.raises(UsageError, match="other latents than the model's own denoiser"):
        train_from(told, tmp_path / "run")


def test_what_begins_anew_is_not_held_to_low_rank(photographs: Path, tmp_path: Path, with_texture: Path):
    low_rank = {"rank": 2, "of": str(with_texture)}
    with pytest.raises(ValidationError, match="low_rank"):
        tiny_crisp(photographs, with_texture, low_rank=low_rank)
    with pytest.raises(ValidationError, match="low_rank"):
        DiffusionConfig.model_validate(
            tiny_refldm(photographs, tmp_path, steps=1).model_dump() | {"low_rank": low_rank}
        )


def test_a_number_says_how_much_all_parts_count(photographs: Path, with_texture: Path):
    assert tiny_crisp(photographs, with_texture, parts=0.5).parts == {"eyes": 0.5, "mouth": 0.5}
    assert tiny_crisp(photographs, with_texture, parts=0.0).parts == {}


def test_the_denoiser_is_told_what_is_wrong_with_the_drawing(photographs: Path, with_texture: Path):
    def gradient_of(**settings) -> float:
        torch.manual_seed(0)
        config = tiny_crisp(photographs, with_texture, detail={}, unet_share=0.5, **settings)
        stage = CrispStage.build(config, cast(FaceDataset, None))
        items = items_of() | {"coarse": torch.zeros(4, dtype=torch.bool)}
        batch = stage.make_batch(items, torch.Generator().manual_seed(0))
        assert "latents" not in batch, "they are of weights that are trained"
        loss, _ = stage(batch, torch.Generator().manual_seed(0), 0, "generator")
        loss.backward()
        return float(cast(torch.Tensor, stage.unet.conv_out.weight.grad).norm())

    far = gradient_of(latent=0.0)
    assert far > 0
    assert gradient_of(latent=10.0) > 2 * far
