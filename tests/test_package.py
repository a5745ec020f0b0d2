"""The project as a whole: which file imports which, how long files are, public names, configurations."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import faceref
from faceref.training.config_files import load_config

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / "faceref"

# What each part may import of the others (DESIGN: imports go one way).
ROOT = {
    "errors",
    "files",
    "journal",
    "threads",
    "cluster",
    "jobs",
    "compute",
    "lean",
    "allocator",
    "devices",
    "precision",
    "processes",
    "consent",
    "download",
    "licences",
}
PEOPLE = ROOT | {"pictures", "faces", "models"}
INFERENCE = PEOPLE | {"people", "pipelines", "backends", "checkpoints"}
MAY_IMPORT = {
    "__init__": {"errors", "people", "restore"},
    "__main__": {"app"},
    "errors": set(),
    "files": {"errors"},
    "journal": {"errors", "files"},
    "threads": set(),
    "cluster": {"errors"},
    "jobs": {"cluster", "errors", "lean"},
    "compute": set(),
    "lean": set(),
    "allocator": set(),
    "consent": {"errors", "files"},
    "download": {"errors", "files"},
    "licences": set(),
    "devices": {"errors"},
    "precision": {"compute", "devices", "errors", "files"},
    "processes": {"errors"},
    "pictures": ROOT,
    "faces": ROOT | {"pictures", "models"},
    "models": ROOT,
    "people": PEOPLE,
    "pipelines": ROOT | {"models"},
    "backends": ROOT | {"models", "pipelines"},
    "checkpoints": ROOT | {"models", "pipelines", "backends"},
    "restore": INFERENCE,
    "data": PEOPLE | {"people"},
    "training": INFERENCE | {"data"},
    "evaluation": INFERENCE | {"data", "restore"},
    "bench": INFERENCE | {"restore"},
    "client": {"errors", "restore", "app"},
    "app": INFERENCE | {"restore", "data", "training", "evaluation", "bench"},
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


def test_no_files_import_each_other():
    files = TopologicalSorter({module: imports_of(path) for module, path in MODULES.items()})
    try:
        files.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_file_is_longer_than_three_hundred_lines(folder):
    lengths = {path: len(path.read_text().splitlines()) for path in (REPOSITORY / folder).rglob("*.py")}
    too_long = {str(path): lines for path, lines in lengths.items() if lines > 300}
    assert not too_long


def test_the_command_touches_no_tensor():
    for path in (PACKAGE / "app").rglob("*.py"):
        names = set(re.findall(r"\btorch\.(\w+)", path.read_text()))
        assert names <= {"device", "cuda", "float16", "bfloat16", "float32"}, path


def test_public_names():
    assert sorted(faceref.__all__) == ["FacerefError", "Person", "RestoreOptions", "Restorer", "Result"]
    assert all(isinstance(getattr(faceref, name), type) for name in faceref.__all__)


def test_help_does_not_wait_for_what_takes_long_to_import():
    code = "import sys, faceref.app.cli.main; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "numpy", "PIL", "psutil", "huggingface_hub", "urllib.request"} & set(imported)


def test_everything_that_is_no_code_is_in_the_wheel():
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    packaged = {path for glob in tools["setuptools"]["package-data"]["faceref"] for path in PACKAGE.glob(glob)}
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert others <= packaged
    assert PACKAGE / "app" / "page" / "index.html" in packaged


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_loads(path):
    load_config(path)
