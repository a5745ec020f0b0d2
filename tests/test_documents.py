"""Documents: their width, and that what they show a reader works (training and evaluation: test_laboratory.py)."""

import doctest
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, REPOSITORY, commands, make_lines, parse, run, text_of
from PIL import Image, ImageOps

from faceref.faces import detect, recognise
from faceref.people.library import Library
from faceref.pictures import photo as pictures
from faceref.restore import restorer as restore
from faceref.restore import steps
from faceref.restore.restorer import Restorer

VERBS = (steps.find_faces, steps.assign, steps.show_references, steps.restore_faces, steps.compose, Restorer.restore)
README = REPOSITORY / "README.md"
NAMES = [path.relative_to(REPOSITORY) for path in DOCUMENTS]


@pytest.mark.parametrize("name", ["CHANGELOG.md", "LICENSES.md", *map(str, NAMES)])
def test_documents_wrap_at_120_characters(name):
    lines = (REPOSITORY / name).read_text().splitlines()
    tables = re.compile(r"\|")  # a row of a table is one line
    assert [line for line in lines if len(line) > 120 and not tables.match(line)] == []


def test_the_version_is_one_and_the_newest_of_the_changes():
    newest, date = re.findall(r"^## (\S+) \((.*)\)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)[0]
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == newest
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert (citation["version"], str(citation["date-released"])) == (newest, date)


def test_the_readme_shows_each_step_by_the_example_of_its_docstring():
    rows = re.findall(r"^\| \w+ \| `(.*\(.*)` \|$", README.read_text(), re.M)
    parser = doctest.DocTestParser()
    assert rows == [parser.get_examples(step.__doc__ or "")[0].source.strip() for step in VERBS[:-1]]


def test_every_extra_is_told_with_what_it_brings():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", (REPOSITORY / "docs" / "install.md").read_text(), re.M)
    assert sorted(told) == sorted(extras)


def test_every_device_has_its_line_to_install():
    text = (REPOSITORY / "docs" / "install.md").read_text()
    for device in ("cuda", "mps", "cpu"):
        assert re.search(rf"^\| .*`pip install torch.* \| `{device}`.*\|$", text, re.M), device


def test_documents_do_show_commands():
    assert len(commands()) > 40
    assert len(make_lines()) > 8


@pytest.mark.parametrize("command", commands(), ids=shlex.join)
def test_every_command_shown_has_the_options_it_shows(command):
    parse(command)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text_of(*DOCUMENTS), re.M))))
def test_every_make_target_shown_exists(target):
    assert re.search(rf"^{target}:.*## ", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.fixture
def readers_folder(tmp_path, portrait, tiny_model, monkeypatch) -> Path:
    """The files that the README speaks of; `small` and `refldm-512` are the tiny model."""
    for name in ("old.jpg", "photo.jpg", "face.png"):
        portrait.save(tmp_path / name)
    group = Image.new("RGB", (2 * portrait.width, portrait.height))
    group.paste(portrait, (0, 0))
    group.paste(portrait, (portrait.width, 0))
    group.save(tmp_path / "group.jpg")
    ImageOps.mirror(portrait).save(tmp_path / "face_ref.png")
    (tmp_path / "data/photos/old").mkdir(parents=True)
    portrait.save(tmp_path / "data/photos/old/print.jpg")
    (tmp_path / "good").mkdir()
    ImageOps.mirror(portrait).save(tmp_path / "good" / "a.jpg")
    ImageOps.mirror(portrait).resize((300, 300)).save(tmp_path / "good" / "b.jpg")
    for checkpoint in (REPOSITORY / "tests" / "golden" / "refldm-mini").glob("*.ckpt"):
        shutil.copy(checkpoint, tmp_path)
    photographs = {"Eileen": portrait, "Solara": ImageOps.solarize(portrait, 150)}  # two people, for dlib
    for person, photograph in photographs.items():
        (tmp_path / "photos" / person).mkdir(parents=True)
        for i, size in enumerate([(254, 254), (340, 254), (254, 340)]):
            photograph.resize(size).save(tmp_path / "photos" / person / f"{i}.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "album")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACEREF_DATA_DIR", str(tmp_path / "kept"))
    for user in ("checkpoints.info", "checkpoints.store", "restore.request"):
        monkeypatch.setattr(f"faceref.{user}.find_model", lambda *_: tiny_model)
    return tmp_path


RESTORATIONS = [command for command in commands(of="restore") if "--person" not in command]


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Path:
    """What the example makes that the README tells to run before its album."""
    folder = tmp_path_factory.mktemp("out") / "family"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make_album.py", str(folder)])
        runpy.run_path(str(REPOSITORY / "examples" / "make_album.py"), run_name="__main__")
    return folder


@pytest.mark.parametrize("command", [*RESTORATIONS, *commands(of="models")], ids=shlex.join)
def test_every_restoration_shown_works(command, readers_folder, request):
    if any(word.startswith("out/family") for word in command):
        shutil.copytree(request.getfixturevalue("family"), readers_folder / "out" / "family")
    run(command)


def test_the_python_shown_works(readers_folder, monkeypatch):
    monkeypatch.setattr(Image.Image, "show", lambda image: None)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (readers_folder / "group.jpg_restored.png").exists()


def test_the_examples_of_the_steps_work(readers_folder, monkeypatch):
    """Those of the docstrings, each going on from the one before it."""
    monkeypatch.setattr(Image.Image, "show", lambda image: None)
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(readers_folder / "good" / name, readers_folder / name)
    restorer = Restorer.from_pretrained("small")
    grandma, grandpa = restorer.person("good/a.jpg"), restorer.person("good/b.jpg")
    names = vars(restore) | vars(steps) | vars(pictures) | vars(detect) | vars(recognise)
    names |= {"photo": pictures.open_photo("group.jpg"), "model": restorer.model}
    names |= {"grandma": grandma, "grandpa": grandpa}
    shown = [function.__doc__ or "" for function in VERBS]
    for text in shown:
        (example,) = doctest.DocTestParser().get_examples(text)
        exec(compile(example.source, text, "single"), names)
    assert len(names["restored"]) == len(names["faces"]) == 2
    assert (readers_folder / "restored.png").exists()


def test_the_pages_of_the_api_have_the_steps_and_their_examples(tmp_path):
    here = f"BIN={Path(sys.executable).parent}"
    told = ["make", "-s", "docs", "-o", ".venv/.installed", here, f"DOCS={tmp_path}", "PACKAGES=restore"]
    subprocess.run(told, cwd=REPOSITORY, check=True, capture_output=True)
    for verb in VERBS:
        page = (tmp_path / verb.__module__.replace(".", "/")).with_suffix(".html").read_text()
        assert verb.__qualname__ in page
        assert "&gt;&gt;&gt;" in page


def test_people_are_kept_used_and_removed_as_the_readme_says(readers_folder):
    for command in commands(README, of=r"(?:people|restore \S+ --person)"):
        run(command)
    assert (readers_folder / "Grandma_faces.png").exists()
    assert not Library(readers_folder / "kept").everybody()


def test_the_readme_makes_a_data_set(readers_folder):
    for command in commands(README, of="data"):  # docs/data.md: see tests/data/test_command.py
        run(command if command[1] == "splits" else (*command, "--workers", "1"))
    assert (readers_folder / "faces/reference_mapping/train_references.csv").exists()
    assert len(list((readers_folder / "lq").rglob("*.png"))) == 6
