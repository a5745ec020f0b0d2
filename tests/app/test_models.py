"""`faceref models`: what it says of models, and the import of checkpoints in the released layout."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, hub_server
from huggingface_hub import constants
from PIL import Image
from release_server import SHA256, release_server

GOLDEN = Path(__file__).parents[1] / "golden" / "refldm-mini"


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path / "home"))


def test_info_tells_what_a_model_says_of_itself(faceref, tiny_model):
    told = faceref("models", "info", tiny_model)
    assert told.code == 0
    assert "64" in told.output
    assert "ddim" in told.output
    assert str(tiny_model) in told.output


def test_what_is_piped_to_a_program_is_not_cut(faceref, tiny_model, tmp_path, monkeypatch):
    folder = tmp_path / ("long-" * 40) / "model"
    shutil.copytree(tiny_model, folder)
    monkeypatch.setenv("COLUMNS", "80")
    assert f" {folder} " in faceref("models", "info", folder).output


def test_imported_checkpoints_restore_by_the_name_refldm_512(faceref, album):
    done = faceref("models", "import", GOLDEN / "refldm.ckpt", GOLDEN / "vqgan.ckpt", "--resolution", 32)
    assert done.code == 0, done.errors
    assert "moving average" in done.output
    assert re.search("licence accepted +not recorded", faceref("models", "info", "refldm-512").output)
    references = album / "references"
    restored = faceref(
        "restore", album / "photo.jpg", "--ref", references, "--model", "refldm-512", "--steps", 2, "--always"
    )
    assert restored.code == 0, restored.errors
    assert (album / "photo_restored.jpg").exists()


@pytest.mark.parametrize("resolution", [0, 12, 8192])
@pytest.mark.parametrize("command", [("import", "nowhere.ckpt"), ("download", "refldm-512")])
def test_a_resolution_that_no_model_has_is_said_before_anything_is_read(faceref, command, resolution):
    refused = faceref("models", *command, "--resolution", resolution)
    assert refused.code == 2
    assert f"No model makes pictures of {resolution} px" in refused.errors


def test_a_single_checkpoint_needs_a_folder_to_go_to(faceref):
    refused = faceref("models", "import", GOLDEN / "refldm.ckpt")
    assert refused.code == 2
    assert "-o FOLDER" in refused.errors


def test_a_single_checkpoint_must_be_ldbfr(faceref, tmp_path):
    refused = faceref("models", "import", GOLDEN / "refldm.ckpt", "-o", tmp_path / "model")
    assert refused.code == 1
    assert "imported with vqgan.ckpt" in refused.errors


def test_a_model_that_is_not_here_is_not_downloaded_without_consent(faceref, album):
    refused = faceref("restore", album / "photo.jpg", "--model", "refldm-512")
    assert refused.code == 2
    assert "non-commercial research only; faceref models download refldm-512." in refused.errors
    refused = faceref("models", "download", "refldm-512", "--from", GOLDEN)
    assert refused.code == 2
    assert "add --accept-licence" in refused.errors


def test_a_downloaded_model_is_checked_imported_and_told_of(faceref, tmp_path):
    wrong = faceref("models", "download", "refldm-512", "--from", GOLDEN, "--accept-licence")
    assert wrong.code == 1
    assert "give its digest with --sha256" in wrong.errors
    digests = [part for name, digest in SHA256.items() for part in ("--sha256", f"{name}={digest}")]
    arguments = ("models", "download", "refldm-512", "--accept-licence", *digests, "--resolution", 32)
    with release_server() as release:
        release.breaks_off = 100_000
        broken = faceref(*arguments, "--from", release.url)
        assert broken.code == 1
        assert "it broke off" in broken.errors
        done = faceref(*arguments, "--from", release.url)
    assert done.code == 0, done.errors
    told = faceref("models", "info", "refldm-512").output
    assert "non-commercial" in told
    assert re.search(r"licence accepted +on 20\d\d-\d\d-\d\d, of release 1\.0\.0", told)
    shutil.rmtree(tmp_path / "home" / "refldm-512")
    again = faceref(*(part for part in arguments if part != "--accept-licence"), "--from", GOLDEN)
    assert again.code == 0, again.errors


@pytest.mark.parametrize("text", ["refldm.ckpt", "other.ckpt=" + "0" * 64, "refldm.ckpt=123"])
def test_a_digest_that_is_none_is_refused(faceref, text):
    refused = faceref("models", "download", "refldm-512", "--accept-licence", "--sha256", text)
    assert refused.code == 2
    assert f"{text} is no digest of a file" in refused.errors


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"text"])
def test_a_damaged_checkpoint_is_one_sentence_and_no_folder(faceref, tmp_path, content):
    (tmp_path / "bad.ckpt").write_bytes(content)
    failed = faceref("models", "import", tmp_path / "bad.ckpt", GOLDEN / "vqgan.ckpt", "-o", tmp_path / "model")
    assert failed.code == 1
    assert failed.errors.count("\n") == 1
    assert "bad.ckpt" in failed.errors
    assert not (tmp_path / "model").exists()


def test_a_model_is_pushed_to_the_hub_and_restores_by_its_name(faceref, tiny_model, album, tmp_path, monkeypatch):
    for name, value in {"HF_TOKEN": TOKEN, "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        done = faceref("models", "push", tiny_model, "org/tiny")
        assert done.code == 0, done.errors
        assert done.output == f"{hub.url}/org/tiny/commit/{hub.commit_of('org/tiny', 'main')}: for --model org/tiny.\n"
        assert "tiny" in faceref("models", "info", "org/tiny").output
        done = faceref("restore", album / "photo.jpg", "--model", "org/tiny", "--always")
        assert done.code == 0, done.errors
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_stranger")
        refused = faceref("restore", album / "photo.jpg", "--model", "org/private")
    assert refused.code == 2
    assert refused.errors == (
        "There is no model org/private on the hub, or it may not be read with this token; look at its name, and set "
        "HF_TOKEN (or hf auth login) if it is private or gated.\n"
    )


def test_an_exported_model_is_half_as_large_and_restores_the_same(faceref, tiny_model, album, tmp_path):
    done = faceref("models", "export", tiny_model, "-o", tmp_path / "half")
    assert done.code == 0, done.errors

    def size(folder: Path) -> int:
        return sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))

    assert size(tmp_path / "half") < 0.6 * size(tiny_model)
    pictures = []
    for model in (tiny_model, tmp_path / "half"):
        out = tmp_path / f"{len(pictures)}.png"
        arguments = ("--ref", album / "references", "--model", model, "--steps", 2, "-o", out)
        assert faceref("restore", album / "photo.jpg", *arguments, "--always").code == 0
        pictures.append(np.asarray(Image.open(out).convert("RGB")).astype(float))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.parametrize("to", ["faceref", "onnx"])
def test_that_an_export_would_replace_something_is_said_before_the_work(faceref, tmp_path, to):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    told = faceref("models", "export", tmp_path / "not read", "--to", to, "-o", tmp_path / "mine")
    assert told.code == 1
    assert told.errors == f"{tmp_path / 'mine'} exists already; choose another name or remove it.\n"


def test_an_export_can_bring_a_model_for_photographs_without_references(
    faceref, tiny_model, tiny_blind_model, album, tmp_path
):
    both = tmp_path / "both"
    assert faceref("models", "export", tiny_model, "-o", both, "--blind", tiny_blind_model).code == 0
    assert "tiny-blind" in faceref("models", "info", both).output
    again = tmp_path / "again"
    assert faceref("models", "export", both, "-o", again).code == 0
    assert "tiny-blind" in faceref("models", "info", again).output, "a copy keeps it"
    photo, references = album / "photo.jpg", album / "references"
    for given, used in (((), "tiny-blind"), (("--ref", references), "tiny")):
        restored = faceref("restore", photo, *given, "--model", again, "--json", "--always")
        assert restored.code == 0, restored.errors
        assert json.loads(restored.output)["faces"][0]["settings"]["model"] == used


def test_what_an_export_brings_may_be_a_model_that_could_use_references(faceref, tiny_model, album, tmp_path):
    both = tmp_path / "both"
    assert faceref("models", "export", tiny_model, "-o", both, "--blind", tiny_model).code == 0
    assert "tiny (" in faceref("models", "info", both).output
    assert faceref("restore", album / "photo.jpg", "--model", both).code == 0


def test_a_model_that_never_takes_references_needs_no_other_beside_it(faceref, tiny_blind_model, tmp_path):
    refused = faceref("models", "export", tiny_blind_model, "-o", tmp_path / "both", "--blind", tiny_blind_model)
    assert refused.code == 2
    assert refused.errors.count("\n") == 1
    assert f"{tiny_blind_model} is of the family ldbfr" in refused.errors
    assert not (tmp_path / "both").exists()


def test_a_stage_that_leaves_one_network_has_no_graphs(faceref, tiny_model, tmp_path):
    refused = faceref("models", "export", tiny_model / "vae", "--to", "onnx", "-o", tmp_path / "graphs")
    told = f"{tiny_model / 'vae'} is one network, and graphs are of whole models; leave --to out.\n"
    assert (refused.code, refused.errors) == (2, told)
    assert not (tmp_path / "graphs").exists()
