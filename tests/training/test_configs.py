"""Every configuration that ships: what `make` does not train (tests/test_laboratory.py does) is trained for two steps.

On small pictures and with narrow networks.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped_configs import CONFIGS, ROOT, config_of

from faceref.checkpoints.info import read_info
from faceref.checkpoints.store import load_pipeline, save_model
from faceref.errors import UsageError
from faceref.models.autoencoder import AUTOENCODERS
from faceref.models.ldbfr import RestoringVQModel
from faceref.models.loading import load_component
from faceref.training.config_files import load_config, save_config
from faceref.training.run import train_from
from faceref.training.stages.configs import (
    CleaningConfig,
    DenoisingConfig,
    FusionConfig,
    JudgedConfig,
    LDBFRConfig,
    RestoringVQConfig,
    VQGANConfig,
)
from faceref.training.stages.vqgan import build_autoencoder

MADE = " ".join(re.findall(r"\$\(call train,(.+)\)", (ROOT / "Makefile").read_text())).split()


def untrained(folder: Path, copies: Path) -> Path:
    """A folder with the networks that a stage begins from: those that ship, or narrow untrained ones."""
    if folder.parts[0] != "runs":
        return ROOT / folder
    config = config_of(folder)
    if isinstance(config, VQGANConfig):
        sizes = config.autoencoder.model_copy(update={"arguments": narrow(config.autoencoder.arguments)})
        build_autoencoder(sizes).save_pretrained(copies / folder)
    else:
        assert isinstance(config, RestoringVQConfig)
        autoencoder = load_component(untrained(config.autoencoder, copies), AUTOENCODERS, "vae")
        RestoringVQModel.from_autoencoder(autoencoder, config.heads).save_pretrained(copies / folder)
    return copies / folder


def without_decoder(folder: Path) -> Path:
    """The model that ships, as it was before it had decoders: at 128 px."""
    pipeline, info = load_pipeline("small")
    pipeline.register_modules(detail=None)
    save_model(pipeline, info.model_copy(update={"resolution": 128, "crisp": None}), folder)
    return folder


def narrow(network: Mapping[str, Any]) -> dict[str, Any]:
    """A U-Net or an autoencoder of the same form, as narrow as can be; a norm of one place has two numbers at least."""
    if "base_channels" in network:
        return {**network, "base_channels": 32}
    widths = [32 for _ in network["block_out_channels"]]
    return {**network, "block_out_channels": widths, "norm_num_groups": 16}


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem not in MADE], ids=lambda path: path.stem)
def test_a_shipped_configuration_trains_two_steps(
    path: Path, photographs: Path, recogniser: Path, tmp_path: Path, counted: None
):
    settings = [
        f"data.root={photographs}",
        "data.sources=[{root: faces}]",
        "data.validation=[{root: faces}]",
        "data.resolution=64",
        "data.cache=null",
        "data.workers=0",
        "loop.batch_size=1",
        "loop.accumulate=1",
        "loop.steps=2",
        "loop.validation_samples=1",
    ]
    config = load_config(path)
    if hasattr(config, "recogniser"):
        settings.append(f"recogniser={recogniser}")
    if isinstance(config, RestoringVQConfig | DenoisingConfig):
        settings.append(f"autoencoder={untrained(config.autoencoder, tmp_path)}")
    smaller = 64 / config.data.resolution  # latents and features of smaller pictures are smaller
    if isinstance(config, VQGANConfig):
        settings.append(f"autoencoder.arguments={json.dumps(narrow(config.autoencoder.arguments))}")
    if isinstance(config, DenoisingConfig):
        settings.append("model.steps=2")
        before = config if config.initial is None else config_of(config.initial)
        assert isinstance(before, DenoisingConfig)
        unet = narrow(before.unet)
        for size in ("sample_size", "feature_size"):
            if size in unet:
                unet[size] = int(smaller * unet[size])
        settings += ["initial=null", f"unet={json.dumps(unet)}"]
    if isinstance(config, LDBFRConfig):
        settings.append(f"restoring={untrained(config.restoring, tmp_path)}")
    if isinstance(config, FusionConfig):
        model = without_decoder(tmp_path / "model")
        settings += [f"model={model}", "initial=null", f"data.resolution={config.data.resolution}"]
    if isinstance(config, CleaningConfig):
        settings.append("crop=32")
    config = load_config(path, settings)
    summary = train_from(config, tmp_path / "run")
    assert summary.finished
    assert summary.gigaflops_per_sample > 0
    if isinstance(config, DenoisingConfig):
        assert read_info(tmp_path / "run" / "model").name == config.model.name


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_features_of_a_recogniser_do_not_outweigh_the_pixels(path: Path):
    """Measured with MobileFaceNet on blurred faces of 128 to 512 px: their gradient is 20 to 180 times that of L1."""
    config = load_config(path)
    if isinstance(config, JudgedConfig) and config.perceptual == "recogniser":
        assert config.weights.perceptual <= config.weights.l1 / 20


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_saved_configuration_reads_back_the_same(path: Path, tmp_path: Path):
    config = load_config(path)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_a_saved_run_that_began_with_a_trained_autoencoder_reads_back_the_same(tmp_path: Path):
    tree = yaml.safe_load((ROOT / "configs" / "small-vqgan.yaml").read_text())
    config = VQGANConfig.model_validate({**tree, "initial": "trained", "autoencoder": {}})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_a_configuration_may_include_another_and_change_some_of_it(tmp_path: Path):
    other = next(path for path in CONFIGS if path.stem == "small-ldm")
    (tmp_path / "mine.yaml").write_text(f"include: {other}\nloop: {{steps: 7}}\n")
    assert load_config(tmp_path / "mine.yaml") == load_config(other, ["loop.steps=7"])
    (tmp_path / "circle.yaml").write_text("include: circle.yaml\n")
    with pytest.raises(UsageError, match=r"circle\.yaml includes itself"):
        load_config(tmp_path / "circle.yaml")


@pytest.mark.parametrize(
    "setting",
    [
        *("loop.batch_size=0", "loop.log_every=0", "loop.validation_samples=0", "loop.steps=0", "loop.steps=-3"),
        *("loop.accumulate=0", "loop.ema_decay=2", "lq_dropout=5", "noise.steps=0", "optimizer.learning_rate=-1"),
        *("data.resolution=65", "data.references=-1", "data.workers=-1", "optimizer.learning_rate=.nan"),
        *("loop.milestones=-5", "loop.milestones=[0]", "noise.beta_schedule=steep", "noise.steps=1"),
        *("unet.block_out_channels=[]", "unet.block_out_channels=[64]", "unet.block_out_channels=[63, 128, 192]"),
        *("unet.layers_per_block=0", "unet.in_channels=3", "unet.attention_head_dim=0", "unet.norm_num_groups=0"),
        *("unet.down_block_types=[Foo]", "unet.nonsense=3", "unet.sample_size=0", "unet.downsample_padding=-1"),
        "unet.dropout=0.1",
    ],
)
def test_a_setting_out_of_its_range_is_named(setting: str):
    ldm = next(path for path in CONFIGS if path.stem == "ablation-64-ldm")
    with pytest.raises(UsageError, match=setting.split("=")[0].split(".")[-1]):
        load_config(ldm, [setting])


@pytest.mark.parametrize(
    ("ranges", "complaint"),
    [
        ("{kind: photographic, noise: [5, 1]}", "noise must be"),
        ("{kind: photographic, side: [0, 20]}", r"side\.0: Input should be greater than or equal to 1"),
        ("{noise: [0, 5]}", r"equation\.sigma: Field required"),  # not the photographic kind with its defaults
        ("{sigma: [0, .inf], downsample: [1, 2], noise: [0, 1], quality: [1, 100]}", r"sigma\.1: .* finite"),
        ("{sigma: [0, 1], downsample: [1, 2], noise: [0, 1], quality: [1, 100], kernel_size: 40}", "must be odd"),
        ("{sigma: [0, 1], downsample: [1, 2], noise: [0, 1], quality: [1, 100], kernel_size: 1025}", "twice the"),
        ("[]", "at least 1"),
    ],
)
def test_degradations_that_are_impossible_are_named(ranges: str, complaint: str):
    ldm = next(path for path in CONFIGS if path.stem == "ablation-64-ldm")
    with pytest.raises(UsageError, match=complaint):
        load_config(ldm, [f"data.degradation={ranges}"])


SEVERE_AT_512 = "{sigma: [8, 16], downsample: [8, 32], noise: [0, 20], quality: [30, 100]}"


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
        ("initial=runs/x", "leave it out, or leave out initial"),
        (f"data.degradation=[{SEVERE_AT_512}, {SEVERE_AT_512[:-1]}, resolution: 256}}]", "one resolution"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        load_config(CONFIGS[-1], [setting])


@pytest.mark.parametrize("written", ["no", '"no"', "false"])
def test_full_precision_is_no_lower_one_however_yaml_reads_that(written: str):
    assert load_config(CONFIGS[-1], [f"loop.precision={written}"]).loop.precision == "no"


@pytest.mark.parametrize("name", ["small-refldm", "small-decoder", "small-crisp", "recogniser"])
def test_a_stage_that_shows_references_needs_some(name: str):
    with pytest.raises(UsageError, match=r"set data\.references to 1 or more"):
        load_config(next(path for path in CONFIGS if path.stem == name), ["data.references=0"])


def test_degradations_as_photographs_have_them_need_whole_blocks_of_jpeg():
    with pytest.raises(UsageError, match="multiple of 16"):
        load_config(next(path for path in CONFIGS if path.stem == "small-crisp"), ["data.resolution=136"])


def test_a_schedule_without_signal_at_its_end_cannot_be_trained_on_noise_prediction():
    ldm = next(path for path in CONFIGS if path.stem == "small-ldm")
    with pytest.raises(UsageError, match="no signal"):
        load_config(ldm, ["noise.prediction_type=epsilon"])


@pytest.mark.parametrize("setting", ["data.of_targets={misaligned: 0.5}", "data.sources=[{root: a, coarse: true}]"])
def test_what_says_nothing_to_a_stage_is_refused_where_a_run_begins(setting: str, tmp_path: Path):
    config = load_config(next(path for path in CONFIGS if path.stem == "small-vqgan"), [setting])
    with pytest.raises(UsageError, match="says nothing to"):
        train_from(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_cannot_take_more_steps_than_its_noise_has():
    ldm = next(path for path in CONFIGS if path.stem == "refldm-512-ldm")
    with pytest.raises(UsageError, match=r"model\.steps: 50 are not possible with noise\.steps 10"):
        load_config(ldm, ["noise.steps=10"])
    with pytest.raises(UsageError, match=r"model\.steps: 150 are not possible"):
        load_config(ldm, ["model.steps=150"])
    leading = ["noise.timestep_spacing=leading"]
    load_config(ldm, [*leading, "model.steps=150"])
    with pytest.raises(UsageError, match=r"model\.steps: 501 are not possible"):
        load_config(ldm, [*leading, "model.steps=501"])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="nowhere"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("more", ["loop: {steps: 5, batch_size: 2}", "crop: 64"])
def test_a_setting_that_a_file_gives_twice_is_named(more: str, tmp_path: Path):
    """YAML would forget the first, here with all settings of its group."""
    text = (CONFIGS[0].parent / "cleaner.yaml").read_text(encoding="utf-8")
    (tmp_path / "twice.yaml").write_text(f"{text}{more}\n", encoding="utf-8")
    line = len(text.splitlines()) + 1
    with pytest.raises(
        UsageError, match=rf"is not valid YAML: {more.partition(':')[0]} is given twice, line {line}\.$"
    ):
        load_config(tmp_path / "twice.yaml")
