"""`faceref licences`: whose terms apply to a command, from the table that LICENSES.md shows."""

import json
import re
import shutil
from pathlib import Path

import pytest
from documents import REPOSITORY

from faceref.licences import PARTS

LANDMARKS, MESH, MTCNN, UNIFACE = "68 landmarks", "--landmarks mesh (", "face detector MTCNN", "uniface (extra"
SMALL, REFLDM, FFHQ = "the model small", "the model refldm-512", "the data set ffhq-ref"
REALESRGAN, PROBES, CLEANER = "realesrgan (extra", "recogniser of degraded faces", "clean (weights/cleaner/)"
TOLD = (CLEANER, REALESRGAN, PROBES, LANDMARKS, MESH, MTCNN, UNIFACE, SMALL, REFLDM, FFHQ)


def test_the_document_has_the_same_table():
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| (.*) \|$", (REPOSITORY / "LICENSES.md").read_text(), re.M)
    assert rows[1:] == [(part.name, part.origin, part.terms, part.products) for part in PARTS]


def test_without_a_command_all_parts_are_told(faceref):
    told = faceref("licences")
    assert told.code == 0
    assert all(part in told.output for part in TOLD)
    assert "Apache-2.0 (LICENSE)" in told.output
    assert not re.search(r"[`\[\]]", told.output), "it is for people, and no Markdown"


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("restore", {LANDMARKS, MTCNN, SMALL, PROBES}),
        ("restore old.jpg --ref good/ --model refldm-512", {LANDMARKS, MTCNN, REFLDM, PROBES}),
        ("restore --ref good/ --model refldm-512", {LANDMARKS, MTCNN, REFLDM, PROBES}),
        ("restore old.jpg --detector dlib", {LANDMARKS, SMALL, PROBES}),
        ("restore old.jpg --detector uniface", {LANDMARKS, UNIFACE, SMALL, PROBES}),
        ("restore old.jpg --landmarks mesh --detector dlib --recogniser dlib", {MESH, SMALL}),
        ("restore old.jpg --background realesrgan --scale 2", {LANDMARKS, MTCNN, SMALL, REALESRGAN, PROBES}),
        ("restore old.jpg --background clean", {LANDMARKS, MTCNN, SMALL, CLEANER, PROBES}),
        ("restore face.png --aligned", {LANDMARKS, SMALL, PROBES}),
        ("restore face.png --aligned --ref good.png", {LANDMARKS, SMALL, PROBES}),
        ("serve", {LANDMARKS, MTCNN, SMALL, CLEANER, PROBES}),
        ("people enroll Grandma good/", {LANDMARKS, MTCNN, PROBES}),
        ("people list", set()),
        ("data align photos faces", {LANDMARKS}),
        ("data degrade faces lq", set()),
        ("data download ffhq-ref", {FFHQ}),
        ("models download refldm-512", {REFLDM}),
        ("models info small", set()),
        ("models export small -o copy", {SMALL}),
        ("models push small me/small", {SMALL}),
        ("bench small", {SMALL}),
        ("bench --random refldm-512", set()),  # of its sizes alone
        ("bench small --photo x.jpg", {LANDMARKS, MTCNN, SMALL, PROBES}),
        ("evaluate small --hq faces --product", {LANDMARKS, MTCNN, SMALL, PROBES}),
        ("evaluate small refldm-512,steps=8 --hq faces", {LANDMARKS, SMALL, REFLDM}),
    ],
)
def test_a_command_is_told_what_it_uses(faceref, command, parts):
    told = faceref("licences", *command.split())
    assert told.code == 0, told.errors
    assert "the code of faceref" in told.output
    assert {part for part in TOLD if part in told.output} == parts


def test_of_a_folder_its_own_licence_is_told(faceref, tiny_model, tmp_path):
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    described = json.loads((folder / "faceref.json").read_text()) | {"licence": "only on Sundays"}
    (folder / "faceref.json").write_text(json.dumps(described))
    assert f"{folder}: only on Sundays" in faceref("licences", "restore", "old.jpg", "--model", folder).output


@pytest.mark.parametrize("command", ["paint", "people", "people paint"])
def test_a_command_that_is_none_is_refused(faceref, command):
    refused = faceref("licences", *command.split())
    assert refused.code == 2
    assert refused.errors.startswith(f"There is no command '{command}'; name one of ")
