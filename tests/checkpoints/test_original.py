"""Import of the authors' checkpoints: sizes, every key accounted for, nothing run, one sentence when it cannot be."""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from original_layout import save_checkpoints, unet_shapes, vqgan_shapes

from faceref.checkpoints.original import import_refldm
from faceref.checkpoints.store import load_pipeline
from faceref.checkpoints.unpickle import read_state_dict
from faceref.errors import CheckpointError, OutputError

GOLDEN = Path(__file__).parents[1] / "golden" / "refldm-mini"
REFLDM, VQGAN = GOLDEN / "refldm.ckpt", GOLDEN / "vqgan.ckpt"


@pytest.fixture(scope="module")
def small_checkpoints(tmp_path_factory) -> tuple[Path, Path]:
    unet = unet_shapes(32, [1, 2, 4], layers=2, attention={1, 4})
    return save_checkpoints(tmp_path_factory.mktemp("original"), unet, vqgan_shapes(32, [1, 1, 2], 2, codebook=16))


def altered(path: Path, out: Path, change) -> Path:
    """A copy of a bare state dict with `change` applied to it."""
    tensors = torch.load(path, weights_only=True)
    change(tensors)
    torch.save(tensors, out)
    return out


def sentence_of(*arguments: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        import_refldm(arguments[0], arguments[1], arguments[2])
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_sizes_are_deduced_from_the_tensors(small_checkpoints, tmp_path):
    summary = import_refldm(small_checkpoints[0], small_checkpoints[1], tmp_path / "model", resolution=64)
    pipeline, info = load_pipeline(tmp_path / "model")
    unet, vae, scheduler = (getattr(pipeline, name).config for name in ("unet", "vae", "scheduler"))
    assert list(unet.block_out_channels) == [32, 64, 128]
    assert unet.layers_per_block == 2
    assert list(unet.down_block_types) == ["AttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D"]
    assert list(unet.up_block_types) == ["AttnUpBlock2D", "UpBlock2D", "AttnUpBlock2D"]
    assert (unet.in_channels, unet.out_channels) == (16, 8)
    assert list(vae.block_out_channels) == [32, 32, 64]
    assert (vae.num_vq_embeddings, vae.latent_channels) == (16, 8)
    assert (scheduler.beta_start, scheduler.beta_end, scheduler.prediction_type) == (0.0015, 0.0155, "epsilon")
    assert (info.family, info.resolution, info.steps, info.guidance) == ("refldm", 64, 50, 1.5)
    keys = sum(len(read_state_dict(path)) for path in small_checkpoints)
    assert summary.taken + summary.ignored == keys
    assert summary.ema


def test_trained_weights_are_taken_where_there_is_no_moving_average(tmp_path):
    def drop_average(tensors):
        for key in [key for key in tensors if key.startswith("model_ema.")]:
            del tensors[key]

    refldm = altered(REFLDM, tmp_path / "refldm.ckpt", drop_average)
    summary = import_refldm(refldm, VQGAN, tmp_path / "model", resolution=32)
    unet = load_pipeline(tmp_path / "model")[0].unet
    trained = read_state_dict(REFLDM)["model.diffusion_model.out.2.weight"]
    assert not summary.ema
    assert torch.equal(unet.conv_out.weight, trained)


@pytest.mark.parametrize("key", ["control_model.weight", "model.diffusion_model.label_emb", "model_ema.extra"])
def test_an_unknown_key_is_named(tmp_path, key):
    refldm = altered(REFLDM, tmp_path / "refldm.ckpt", lambda tensors: tensors.update({key: torch.zeros(1)}))
    assert key.removeprefix("model.diffusion_model.") in sentence_of(refldm, VQGAN, tmp_path / "model")


def test_sizes_that_no_network_has_and_names_that_are_none_are_said(tmp_path):
    odd = save_checkpoints(
        tmp_path, unet_shapes(48, [1, 2], layers=1, attention=set()), vqgan_shapes(32, [1], 1, codebook=16)
    )
    assert "has sizes that no such network has" in sentence_of(*odd, tmp_path / "model")
    numbered = altered(REFLDM, tmp_path / "numbered.ckpt", lambda tensors: tensors.update({7: torch.zeros(1)}))
    assert "entries that are not tensors with names (7)" in sentence_of(numbered, VQGAN, tmp_path / "model")


def test_a_missing_weight_is_named(tmp_path):
    def drop(tensors):
        del tensors["model.diffusion_model.out.2.bias"], tensors["model_ema.diffusion_modelout2bias"]

    refldm = altered(REFLDM, tmp_path / "refldm.ckpt", drop)
    assert "conv_out.bias" in sentence_of(refldm, VQGAN, tmp_path / "model")


def test_a_missing_moving_average_is_named(tmp_path):
    refldm = altered(REFLDM, tmp_path / "r.ckpt", lambda tensors: tensors.pop("model_ema.diffusion_modelout2bias"))
    assert "model_ema.diffusion_modelout2bias" in sentence_of(refldm, VQGAN, tmp_path / "model")


def test_another_noise_schedule_is_refused(tmp_path):
    refldm = altered(REFLDM, tmp_path / "r.ckpt", lambda t: t.update(betas=torch.linspace(0.0015, 0.0155, 1000)))
    assert "betas" in sentence_of(refldm, VQGAN, tmp_path / "model")


@pytest.mark.parametrize(
    ("keys", "family"),
    [
        (["params_ema.position_emb"], "CodeFormer"),
        (["params_ema.stylegan_decoder.style_conv1.bias"], "GFPGAN"),
        (["conv_first.weight", "body.0.rdb1.conv1.weight"], "Real-ESRGAN"),
        (["model.diffusion_model.input_blocks.1.1.transformer_blocks.0.norm1.weight"], "a text-to-image"),
        (["encoder.down.0.block.0.conv1.weight", "quant_conv.weight"], "a KL autoencoder"),
        (["fc.weight"], "an unknown kind (keys like fc.weight)"),
    ],
)
def test_an_unrelated_checkpoint_is_refused_by_its_family(tmp_path, keys, family):
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "other.ckpt")
    assert family in sentence_of(tmp_path / "other.ckpt", VQGAN, tmp_path / "model")


def test_swapped_files_are_told_apart(tmp_path):
    assert "seems to be a VQGAN autoencoder (vqgan.ckpt)" in sentence_of(VQGAN, REFLDM, tmp_path / "model")


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
def test_a_truncated_file_is_refused(tmp_path, size):
    (tmp_path / "refldm.ckpt").write_bytes(REFLDM.read_bytes()[:size])
    assert "download it again" in sentence_of(tmp_path / "refldm.ckpt", VQGAN, tmp_path / "model")


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.ckpt" in sentence_of(tmp_path / "nowhere.ckpt", VQGAN, tmp_path / "model")


class Hostile:
    """Pickled, it asks for a call when it is read."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_objects(trace: Path) -> list[Hostile]:
    code = f"open({str(trace)!r}, 'w').close()"
    return [Hostile(os.system, f"touch {trace}"), Hostile(eval, code), Hostile(exec, code), Hostile(trace.touch)]


@pytest.mark.parametrize("index", range(4))
def test_code_beside_the_tensors_is_not_run(tmp_path, index):
    """The tensors are read all the same, as with the objects that lie in the released vqgan.ckpt."""
    trace = tmp_path / "was-run"
    torch.save({"state_dict": {"w": torch.ones(2)}, "bad": hostile_objects(trace)[index]}, tmp_path / "bad.ckpt")
    torch.load(tmp_path / "bad.ckpt", weights_only=False)
    assert trace.exists(), "the file is harmless: the test would prove nothing"
    trace.unlink()
    assert torch.equal(read_state_dict(tmp_path / "bad.ckpt")["w"], torch.ones(2))
    assert not trace.exists()


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("form", ["pickle", "zip", "among the tensors"])
def test_code_instead_of_tensors_is_refused_and_not_run(tmp_path, form, index):
    trace, path = tmp_path / "was-run", tmp_path / "bad.ckpt"
    bad = hostile_objects(trace)[index]
    if form == "pickle":
        path.write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad if form == "zip" else {"w": torch.ones(2), "bad": bad}, path)
    sentence_of(path, VQGAN, tmp_path / "model")
    assert not trace.exists()


def test_a_zip_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.ckpt", "w") as archive:
        archive.writestr("a.txt", "text")
    assert "not a PyTorch checkpoint" in sentence_of(tmp_path / "photos.ckpt", VQGAN, tmp_path / "model")


def test_a_model_folder_is_never_overwritten_and_nothing_is_left_after_a_failure(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists already"):
        import_refldm(tmp_path / "gigabytes", VQGAN, tmp_path / "model")  # which are not read for nothing
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine.txt"]


@pytest.mark.slow
def test_checkpoints_of_the_released_size_import_in_30_seconds_and_4_gigabytes(tmp_path):
    """The sizes of PAPERS.md: 117.8 M parameters in the U-Net, 57.2 M in the autoencoder."""
    unet = unet_shapes(160, [1, 2, 2, 4], layers=2, attention={2, 4, 8})
    paths = save_checkpoints(tmp_path, unet, vqgan_shapes(128, [1, 1, 2, 4], 2, codebook=8192))
    code = (  # in a process of its own, so that the peak of its memory is the import's
        "import resource, sys; from faceref.checkpoints.original import import_refldm; import_refldm(*sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_maxrss, used.ru_utime + used.ru_stime)"
    )
    command = [sys.executable, "-c", code, *map(str, paths), str(tmp_path / "model")]
    used = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    kilobytes, seconds = int(used[0]), float(used[1])  # of the processor: the clock's are other tests', too
    for path in paths:
        path.unlink()  # gigabytes that pytest would keep
    assert seconds < 30
    assert kilobytes < 4e6
    pipeline, _ = load_pipeline(tmp_path / "model")
    assert pipeline.unet.num_parameters() == pytest.approx(117.8e6, abs=0.05e6)
    assert pipeline.vae.num_parameters() == pytest.approx(57.2e6, abs=0.05e6)
