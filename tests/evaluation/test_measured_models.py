"""Which models are measured, and with which settings."""

import json
import shutil
from pathlib import Path

import pytest

from faceref.checkpoints.info import fingerprint_of
from faceref.checkpoints.store import load_pipeline
from faceref.compute import Compute
from faceref.errors import UsageError
from faceref.evaluation.models import ModelSpec, SamplingChanges, load_models


def test_models_are_named_shortly_and_take_settings(model_folder: Path, other_model_folder: Path):
    specs = [ModelSpec.parse(f"{model_folder},steps=1,scheduler=unipc", SamplingChanges(guidance=2.0))]
    specs.append(ModelSpec.parse(str(other_model_folder), SamplingChanges()))
    first, second = load_models(specs, Compute("cpu"))
    assert (first.label, second.label) == ("tiny steps=1 guidance=2.0 scheduler=unipc", "other")
    assert first.settings == {"weights": first.fingerprint, "steps": 1, "guidance": 2.0, "scheduler": "unipc"}
    assert second.settings == {"weights": second.fingerprint, "steps": 2, "guidance": 1.5, "scheduler": "ddim"}
    assert first.fingerprint != second.fingerprint


def test_a_model_whose_network_only_computes_otherwise_is_another(model_folder: Path, tmp_path: Path):
    other = shutil.copytree(model_folder, tmp_path / "other")
    config = json.loads((other / "unet" / "config.json").read_text())
    (other / "unet" / "config.json").write_text(json.dumps(config | {"distance_bias": not config["distance_bias"]}))
    assert fingerprint_of(model_folder) != fingerprint_of(other)
    assert load_pipeline(model_folder)[0].fingerprint != load_pipeline(other)[0].fingerprint


def test_models_that_share_a_name_are_told_apart_by_their_paths(model_folder: Path, tmp_path: Path):
    shutil.copytree(model_folder, tmp_path / "copy")
    specs = [ModelSpec.parse(str(path), SamplingChanges()) for path in (model_folder, tmp_path / "copy")]
    assert [model.label for model in load_models(specs, Compute("cpu"))] == [spec.path for spec in specs]
    with pytest.raises(UsageError, match="given twice"):
        load_models(specs[:1] * 2, Compute("cpu"))


def test_guidance_for_a_model_that_takes_no_references_is_refused(tiny_blind_model: Path):
    with pytest.raises(UsageError, match=f"{tiny_blind_model}: The model restores without references, so that there"):
        load_models([ModelSpec.parse(str(tiny_blind_model), SamplingChanges(guidance=2.0))], Compute("cpu"))


def test_steps_that_are_not_possible_are_refused(tiny_blind_model: Path):
    with pytest.raises(UsageError, match="0 denoising steps are not possible"):
        load_models([ModelSpec.parse(f"{tiny_blind_model},steps=0", SamplingChanges())], Compute("cpu"))


def test_a_model_is_measured_as_crisp_as_asked_or_as_it_is_by_itself(tiny_blind_model: Path):
    specs = [ModelSpec.parse(text, SamplingChanges()) for text in ("small", "small,crisp=0")]
    as_it_is, soft = load_models(specs, Compute("cpu"))
    assert (as_it_is.settings["crisp"], soft.settings["crisp"]) == (load_pipeline("small")[1].crisp, 0.0)
    with pytest.raises(UsageError, match="cannot be told how crisply to draw"):
        load_models([ModelSpec.parse(f"{tiny_blind_model},crisp=1", SamplingChanges())], Compute("cpu"))


def test_what_makes_a_model_slower_is_told(model_folder: Path):
    (model,) = load_models([ModelSpec.parse(str(model_folder), SamplingChanges())], Compute("cpu", memory="low"))
    assert model.settings["memory"] == "low"


def test_what_a_model_brings_along_is_loaded_for_the_product_alone(tiny_model_with_blind: Path):
    specs = [ModelSpec.parse(str(tiny_model_with_blind), SamplingChanges())]
    (bare,), (whole,) = (load_models(specs, Compute("cpu"), product=product) for product in (False, True))
    assert bare.blind is None
    assert whole.blind is not None


@pytest.mark.parametrize("text", ["small,steps=many", "small,colour=red", "small,steps"])
def test_a_setting_that_is_none_is_named(text: str):
    with pytest.raises(UsageError, match="is no setting"):
        ModelSpec.parse(text, SamplingChanges())
