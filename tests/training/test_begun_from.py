"""What a run begins from: folders, or models by their names; what is not there is said before a photograph is read."""

from pathlib import Path

import pytest
from tiny_runs import save_autoencoder, tiny_crisp, tiny_ldbfr, tiny_refldm, tiny_vqgan

from faceref.checkpoints.info import find_model
from faceref.errors import FacerefError
from faceref.training.config_files import load_config, save_config
from faceref.training.run import train_from
from faceref.training.run_folder import CONFIG, changed_settings
from faceref.training.stages.begun_from import with_folders
from faceref.training.stages.configs import FusionConfig

NOWHERE = Path("nowhere")  # where the photographs are looked for, which is an error as well


def changed(config, **settings):
    """The configuration with other settings, checked as those of a file are."""
    return type(config).model_validate(config.model_dump() | settings)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("recogniser", "gone cannot be read as safetensors"),
        ("autoencoder", "There is no VQModel or PixelUnshuffleVQModel in gone; train the stage before"),
        ("initial", r"There is no ReferenceUNet or .* in gone; train the stage before"),
        ("restoring", "There is no RestoringVQModel in gone; train the stage before"),
    ],
)
def test_a_network_that_is_not_there_is_said_before_photographs_are_read(setting: str, words: str, tmp_path: Path):
    config = tiny_refldm(NOWHERE, tmp_path, steps=1)
    others = {"unet": {}} if setting == "initial" else {}
    with pytest.raises(FacerefError, match=words):
        train_from(changed(config, **others, **{setting: "gone"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_so_is_what_other_stages_begin_from(tmp_path: Path):
    vqgan, ldbfr = tiny_vqgan(NOWHERE, 1), tiny_ldbfr(NOWHERE, tmp_path, 1)
    fusion = {"stage": "fusion", "weights": {"perceptual": 0.0}, "model": str(find_model("small"))}
    fusion |= {name: getattr(vqgan, name) for name in ("data", "optimizer", "loop")}
    other_class = save_autoencoder(tmp_path / "vae")
    for config, words in (
        (changed(vqgan, autoencoder={}, initial="gone"), "There is no VQModel or PixelUnshuffleVQModel in gone"),
        (changed(ldbfr, unet={}, initial=other_class), "holds a PixelUnshuffleVQModel, not a InjectedUNet"),
        (FusionConfig.model_validate(fusion | {"initial": "gone"}), "There is no PixelFusion in gone"),
        (FusionConfig.model_validate(fusion | {"model": "gone"}), "There is no model 'gone'; give small"),
        (tiny_crisp(NOWHERE, Path("gone")), "There is no model 'gone'; give small"),
        (tiny_crisp(NOWHERE, find_model("small"), unet="gone"), "There is no ReferenceUNet in gone"),
        (
            tiny_crisp(NOWHERE, find_model("small"), detail={}, low_rank={"rank": 1, "of": "gone"}),
            "There is no model 'gone'",
        ),
    ):
        with pytest.raises(FacerefError, match=words):
            train_from(config, tmp_path / "run")


def test_a_models_name_is_the_model_and_a_path_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_autoencoder(Path("small"))
    config = tiny_refldm(NOWHERE, tmp_path, steps=1)
    named = changed(config, autoencoder="small", initial="small", unet={})
    assert with_folders(named).autoencoder == with_folders(named).initial == find_model("small")  # as `model` has it
    folder = changed(config, autoencoder="./small")
    assert with_folders(folder).autoencoder == tmp_path / "small"
    for one in (named, folder):
        save_config(one, Path(CONFIG))
        assert changed_settings(load_config(Path(CONFIG)), one) == []
        assert with_folders(load_config(Path(CONFIG))) == with_folders(one)


def test_a_run_begins_from_small_by_its_name(photographs: Path, tmp_path: Path):
    config = tiny_refldm(photographs, tmp_path, steps=1)
    small = {"unet": {}, "initial": "small", "autoencoder": "small", "noise": {"prediction_type": "sample"}}
    data = config.data.model_dump() | {"resolution": 128, "references": 1}
    assert train_from(changed(config, data=data, **small), tmp_path / "run").finished
    assert load_config(tmp_path / "run" / CONFIG).model_dump()["initial"] == Path("small")
