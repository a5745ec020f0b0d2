"""What all commands do alike: refuse a value before any work, say in one sentence what the system refused."""

import logging
import sys
from io import BytesIO, TextIOWrapper

import pytest

from faceref.app.cli.main import app


@pytest.mark.parametrize(
    "command",
    [
        "evaluate small --hq . --seed -1",
        "evaluate small --hq . --seed 4294967296",  # NumPy's global generator takes 32 bits
        "data splits . --seed -1",
        "restore photo.jpg --seed -1",
        "restore photo.jpg --seed 9223372036854775808",
    ],
)
def test_a_seed_that_a_generator_would_not_take_is_refused(faceref, command):
    refused = faceref(*command.split())
    assert refused.code == 2
    assert "Invalid value for '--seed'" in refused.errors


@pytest.mark.parametrize(
    ("command", "behind"),
    [
        (["restore", ""], "restore"),
        (["restore", "photo.jpg", "--ref", ""], "--ref"),
        (["restore", "photo.jpg", "--out="], "--out"),
        (["data", "align", "", "faces"], "align"),
        (["evaluate", "small", "--hq", "", "--reference-counts", ""], "--hq"),  # the latter may be empty
    ],
)
def test_an_empty_name_is_not_taken_for_the_folder_one_is_in(faceref, command, behind):
    refused = faceref(*command)
    assert refused.code == 2
    assert refused.errors == f"The argument behind {behind} is empty, and names nothing; see faceref --help.\n"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("restore photo.jpg --seed -1", "Invalid value for '--seed': "),
        ("restore photo.jpg --colours", "No such option: --colours"),
        ("evaluate small", "Missing option '--hq'"),
        ("train", None),
        ("data align", "Missing argument"),
        ("restor photo.jpg", "No such command 'restor'"),
        ("--colours", "No such option: --colours"),
    ],
)
def test_a_command_that_cannot_be_read_is_refused_with_one_sentence(faceref, command, sentence):
    refused = faceref(*command.split())
    assert refused.code == 2
    if sentence is None:  # no words at all: the help
        assert "Usage: faceref train" in refused.output + refused.errors
        return
    assert refused.errors.startswith(sentence)
    assert refused.errors.endswith("--help.\n")
    assert refused.errors.count("\n") == 1


def test_what_the_system_refuses_is_one_sentence(faceref, tmp_path):
    (tmp_path / "hq").mkdir()
    (tmp_path / "hq" / "file").touch()
    refused = faceref("evaluate", tmp_path / ("x" * 300), "--hq", tmp_path / "hq", "-o", tmp_path / "out")
    assert refused.code == 1
    assert refused.errors.endswith(f"/{'x' * 300}/faceref.json: File name too long.\n")
    assert refused.errors.count("\n") == 1


def test_letters_that_the_output_has_not_end_no_command(tiny_model, tmp_path, monkeypatch):
    (tmp_path / "Łukasz").symlink_to(tiny_model)
    output = TextIOWrapper(BytesIO(), encoding="cp1252")  # what Windows gives a pipe
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as ended:
        app(["models", "info", str(tmp_path / "Łukasz")], prog_name="faceref")
    output.flush()
    assert ended.value.code == 0
    assert b"\\u0141ukasz" in output.buffer.getvalue()


@pytest.mark.parametrize(("flags", "level"), [((), logging.WARNING), (("--verbose",), logging.INFO)])
def test_what_the_library_warns_of_is_said(faceref, tiny_model, flags, level):
    assert faceref("models", "info", tiny_model, *flags).code == 0
    for of in ("faceref.data.dataset", "faceref.data.embedding", "faceref.models.low_rank"):
        assert logging.getLogger(of).getEffectiveLevel() == level
