"""Where and in what networks compute, as every command that runs one lets it be said."""

import json

import pytest
from documents import parse

COMMANDS = (
    ("restore", "photo.jpg"),
    ("restore", "photos/"),
    ("serve",),
    ("evaluate", "small", "--hq", "faces"),
)
RECOGNISING = (("data", "identities", "faces"), ("data", "references", "faces"), ("data", "check", "faces"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_that_restores_is_told_how_to_compute(command):
    parse((*command, "--device", "cpu", "--dtype", "auto", "--memory", "low", "--backend", "openvino"))


@pytest.mark.parametrize("command", RECOGNISING, ids=" ".join)
def test_a_command_that_recognises_is_told_where_to_compute(command):
    parse((*command, "--device", "cpu"))


def test_a_photograph_is_restored_as_it_is_told_to(faceref, album, tiny_model):
    told = ("--ref", album / "references", "--model", tiny_model, "--always", "--json")
    done = faceref("restore", album / "photo.jpg", *told, "--device", "cpu", "--dtype", "bfloat16", "--memory", "low")
    assert done.code == 0, done.errors
    assert json.loads(done.output)["faces"][0]["settings"]["dtype"] == "bfloat16"


def test_a_folder_is_restored_as_it_is_told_to_and_remembers_the_numbers(faceref, album, tiny_model):
    (album / "photos").mkdir()
    (album / "photo.jpg").rename(album / "photos" / "photo.jpg")
    told = ("restore", album / "photos", "-o", album / "out", "--model", tiny_model, "--always")
    done = faceref(*told, "--dtype", "bfloat16", "--json")
    assert done.code == 0, done.errors
    assert json.loads(done.output)["account"]["faces"][0]["settings"]["dtype"] == "bfloat16"
    refused = faceref(*told)
    assert refused.code == 2
    assert "dtype" in refused.errors


@pytest.mark.parametrize(("photo", "out"), [("photo.jpg", "out.jpg"), ("references", "out")])
def test_a_device_that_is_not_here_is_one_sentence(faceref, album, tiny_model, photo, out):
    refused = faceref("restore", album / photo, "-o", album / out, "--model", tiny_model, "--device", "cuda:7")
    assert refused.code == 2
    assert refused.errors.splitlines()[-1].startswith("The device cuda:7 is not here; choose one of")


@pytest.mark.parametrize(("option", "value"), [("--dtype", "int8"), ("--memory", "none"), ("--backend", "tflite")])
def test_other_values_are_refused_with_the_choices(faceref, album, option, value):
    refused = faceref("restore", album / "photo.jpg", option, value)
    assert refused.code == 2
    assert "is not one of" in refused.errors
