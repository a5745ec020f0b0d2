"""Every configuration that ships is built at its real size and trained for two steps, on small pictures."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from faceref.checkpoints.store import read_info
from faceref.errors import UsageError
from faceref.models.identity import MobileFaceNet
from faceref.training.config import DiffusionConfig, VQGANConfig, load_config, save_config
from faceref.training.run import train_from
from faceref.training.vqgan import build_autoencoder

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "recogniser.safetensors"
    save_file(MobileFaceNet().state_dict(), path)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_trains_two_steps(path: Path, photographs: Path, recogniser: Path, tmp_path: Path):
    settings = [
        f"data.root={photographs}",
        "data.sources=[{root: faces}]",
        "data.validation=[{root: faces}]",
        "data.resolution=64",
        "data.cache=null",
        "data.workers=0",
        f"recogniser={recogniser}",
        "loop.batch_size=1",
        "loop.accumulate=1",
        "loop.steps=2",
        "loop.validation_samples=1",
    ]
    config = load_config(path, settings)
    if isinstance(config, DiffusionConfig):
        first_stage = load_config(path.with_name(f"{path.stem.rpartition('-')[0]}-vqgan.yaml"))
        assert isinstance(first_stage, VQGANConfig)
        build_autoencoder(first_stage.autoencoder).save_pretrained(tmp_path / "vae")
        config = load_config(path, [*settings, f"autoencoder={tmp_path / 'vae'}", "model.steps=2", "initial=null"])
        assert isinstance(config, DiffusionConfig)
        if config.stage == "refldm":  # its network is that of the stage before
            before = load_config(path.with_name(path.name.replace("-refldm.yaml", "-ldm.yaml")))
            assert isinstance(before, DiffusionConfig)
            config = config.model_copy(update={"unet": before.unet})
    summary = train_from(config, tmp_path / "run")
    assert summary.finished
    assert summary.gigaflops_per_sample > 0
    if isinstance(config, DiffusionConfig):
        assert read_info(tmp_path / "run" / "model").name == config.model.name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_saved_configuration_reads_back_the_same(path: Path, tmp_path: Path):
    config = load_config(path)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("loop.stepz=3", "loop.stepz"),
        ("stage=gan", "stage"),
        ("loop.steps=many", "loop.steps"),
        ("nonsense", "key=value"),
        ("recogniser.file=x", "recogniser"),
        ("loop.steps=[", "not valid YAML"),
        ("loop=3", "loop"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        load_config(CONFIGS[-1], [setting])


def test_a_schedule_without_signal_at_its_end_cannot_be_trained_on_noise_prediction():
    ldm = next(path for path in CONFIGS if path.stem == "small-ldm")
    with pytest.raises(UsageError, match="no signal"):
        load_config(ldm, ["noise.prediction_type=epsilon"])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="nowhere"):
        load_config(tmp_path / "nowhere.yaml")
