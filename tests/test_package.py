"""The project as a whole: which part imports which, public names, configurations, the commands that documents show."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from typer.main import get_command

import faceref
from faceref.app.cli.main import app
from faceref.training.config_files import load_config

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / "faceref"
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "examples/README.md",
    *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
)

# What each part may import of the others (DESIGN: imports go one way).
ROOT = {"errors", "files", "journal", "jobs", "devices"}
PEOPLE = ROOT | {"pictures", "faces", "models"}
INFERENCE = PEOPLE | {"people", "pipelines", "checkpoints"}
MAY_IMPORT = {
    "__init__": {"errors", "people", "restore"},
    "__main__": {"app"},
    "errors": set(),
    "files": {"errors"},
    "journal": {"errors", "files"},
    "jobs": {"errors"},
    "devices": {"errors"},
    "pictures": ROOT,
    "faces": ROOT | {"pictures"},
    "models": ROOT,
    "people": PEOPLE,
    "pipelines": ROOT | {"models"},
    "checkpoints": ROOT | {"models", "pipelines"},
    "restore": INFERENCE,
    "data": PEOPLE | {"people"},
    "training": INFERENCE | {"data"},
    "evaluation": INFERENCE | {"data", "restore"},
    "app": INFERENCE | {"restore", "data", "training", "evaluation"},
}


MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a file imports, also inside its functions."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from faceref import x` and `from faceref.app import x` name modules or their contents
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= full & MODULES.keys() or {str(node.module)}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    return named & MODULES.keys()


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_imports_go_one_way():
    wrong = {}
    for module, path in MODULES.items():
        part = part_of(module)
        if others := {part_of(other) for other in imports_of(path)} - {part} - MAY_IMPORT[part]:
            wrong[module] = others
    assert not wrong


# What the rebuilding has not reached yet; nothing is to be added.
IMPORT_EACH_OTHER_YET = {"faceref.checkpoints.store", "faceref.faces.detect"}
TOO_LONG_YET = {"data.py", "photo.py", "loop.py", "test_photo.py", "test_restorer.py"}


def test_no_files_import_each_other():
    looked_at = {module: path for module, path in MODULES.items() if module not in IMPORT_EACH_OTHER_YET}
    files = TopologicalSorter({module: imports_of(path) for module, path in looked_at.items()})
    try:
        files.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_file_is_longer_than_three_hundred_lines(folder):
    lengths = {path: len(path.read_text().splitlines()) for path in (REPOSITORY / folder).rglob("*.py")}
    too_long = {str(path): lines for path, lines in lengths.items() if lines > 300 and path.name not in TOO_LONG_YET}
    assert not too_long


def test_the_command_touches_no_tensor():
    for path in (PACKAGE / "app").rglob("*.py"):
        names = set(re.findall(r"\btorch\.(\w+)", path.read_text()))
        assert names <= {"device", "cuda", "float16", "bfloat16", "float32"}, path


def test_public_names():
    assert sorted(faceref.__all__) == ["FacerefError", "Person", "RestoreOptions", "Restorer", "Result"]
    assert all(isinstance(getattr(faceref, name), type) for name in faceref.__all__)


def test_help_does_not_wait_for_torch():
    code = "import sys, faceref.app.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_loads(path):
    load_config(path)


def text_of_documents() -> str:
    return "\n".join((REPOSITORY / document).read_text() for document in DOCUMENTS)


def commands() -> list[str]:
    """The indented lines `faceref ...` of the documents, without comments."""
    lines = re.findall(r"^    (faceref .*)$", text_of_documents(), flags=re.MULTILINE)
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in lines})


def test_documents_do_show_commands():
    assert len(commands()) > 15


@pytest.mark.parametrize("command", commands())
def test_every_command_shown_has_the_options_it_shows(command):
    subcommand: Any = get_command(app)
    arguments, context = shlex.split(command)[1:], None
    while hasattr(subcommand, "resolve_command"):
        context = subcommand.make_context(subcommand.name, list(arguments), parent=context)
        _, subcommand, arguments = subcommand.resolve_command(context, arguments)
    subcommand.make_context(subcommand.name, list(arguments), parent=context)  # raises on an unknown option


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text_of_documents(), re.M))))
def test_every_make_target_shown_exists(target):
    assert re.search(rf"^{target}:.*## ", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.fixture
def readers_folder(tmp_path, astronaut, tiny_model, monkeypatch) -> Path:
    """The files that the README speaks of; `small` and `refldm-512` are the tiny model."""
    portrait = astronaut.crop((96, 0, 350, 254))
    for name in ("old.jpg", "group.jpg", "photo.jpg", "face.png"):
        portrait.save(tmp_path / name)
    group = Image.new("RGB", (2 * portrait.width, portrait.height))
    group.paste(portrait, (0, 0))
    group.paste(portrait, (portrait.width, 0))
    group.save(tmp_path / "group.jpg")
    ImageOps.mirror(portrait).save(tmp_path / "face_ref.png")
    (tmp_path / "good").mkdir()
    ImageOps.mirror(portrait).save(tmp_path / "good" / "a.jpg")
    ImageOps.mirror(portrait).resize((300, 300)).save(tmp_path / "good" / "b.jpg")
    for checkpoint in (REPOSITORY / "tests" / "golden" / "refldm-mini").glob("*.ckpt"):
        shutil.copy(checkpoint, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEREF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("faceref.checkpoints.store.find_model", lambda *_: tiny_model)
    return tmp_path


@pytest.mark.parametrize("command", [command for command in commands() if command.split()[1] in ("restore", "models")])
def test_every_restoration_shown_works(command, readers_folder):
    arguments = []
    for argument in shlex.split(command)[1:]:
        arguments += sorted(map(str, Path().glob(argument))) if "*" in argument else [argument]
    with pytest.raises(SystemExit) as ended:
        app(arguments, prog_name="faceref")
    assert ended.value.code in (0, None)


def test_the_python_shown_works(readers_folder, monkeypatch):
    monkeypatch.setattr(Image.Image, "show", lambda image: None)
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert (readers_folder / "group.jpg_restored.png").exists()
