"""What the documents tell people to type: read from them, and run."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.state import AcceleratorState, GradientState
from typer.main import get_command

from faceref.app.cli.main import app

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = (
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "examples" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
)

Command = tuple[str, ...]


def text_of(*documents: Path) -> str:
    """The documents, one after the other, with lines that a backslash continues made whole."""
    return re.sub(r"\\\n +", "", "\n".join(document.read_text() for document in documents))


def commands(*documents: Path, of: str = "") -> list[Command]:
    """Arguments of the indented lines `faceref ...`, without comments, each once; only `faceref OF ...`, if given."""
    lines = re.findall(rf"^    faceref ({of}.*)$", text_of(*(documents or DOCUMENTS)), flags=re.MULTILINE)
    return list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in lines))


def data_shown() -> list[dict[str, Any]]:
    """What docs/data.md shows of configurations: the settings of `data`, one for each."""
    blocks = re.findall(r"^    data:\n(?:      .*\n)+", (REPOSITORY / "docs" / "data.md").read_text(), re.MULTILINE)
    return [yaml.safe_load(block)["data"] for block in blocks]


def make_lines() -> list[str]:
    """The indented lines `make ...`, without comments, each once, with the value of a variable set before them."""
    text = text_of(*DOCUMENTS)
    for name, value in re.findall(r'^    (\w+)="(.*)"$', text, flags=re.MULTILINE):
        text = text.replace(f"${name}", value)
    lines = re.findall(r"^    (make .*)$", text, flags=re.MULTILINE)
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in lines))


def commands_of(make_line: str, folder: Path) -> list[Command]:
    """The arguments of each `faceref` that `make ...` calls in a folder; they are written down, not run."""
    binaries, record = folder / "recording", folder / "record.txt"
    binaries.mkdir(exist_ok=True)
    (binaries / "faceref").write_text(
        f'#!/bin/sh\nfor a in "$@"; do echo "$a"; done >> "{record}"; echo >> "{record}"\n'
    )
    (binaries / "faceref").chmod(0o755)
    record.write_text("")
    given = [*shlex.split(make_line)[1:], f"BIN={binaries}", "-s", "-f", str(REPOSITORY / "Makefile")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    subprocess.run(["make", *given, "-o", ".venv/.installed"], cwd=folder, check=True, env=environment)
    return [tuple(block.split("\n")) for block in record.read_text().split("\n\n")[:-1]]


def parse(arguments: Iterable[str]) -> None:
    """Raises where `faceref` has not the subcommand or option."""
    subcommand: Any = get_command(app)
    rest, context = list(arguments), None
    while hasattr(subcommand, "resolve_command"):
        context = subcommand.make_context(subcommand.name, rest, parent=context)
        _, subcommand, rest = subcommand.resolve_command(context, rest)
    subcommand.make_context(subcommand.name, rest, parent=context)


def run(command: Iterable[str]) -> None:
    """`faceref ...` as in a new process, in the current folder; patterns become file names, as by a shell."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    arguments = []
    for argument in command:
        arguments += sorted(map(str, Path().glob(argument))) if "*" in argument else [argument]
    with pytest.raises(SystemExit) as ended:
        app(arguments, prog_name="faceref")
    assert ended.value.code in (0, None), shlex.join(arguments)
