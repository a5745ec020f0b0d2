"""What `faceref models download` and `faceref data download` share: their options, consent, and a bar of bytes."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import DownloadColumn, TaskID
from rich.progress import Progress as Bar

from faceref.app.cli.console import output, remarks
from faceref.consent import Licensed, accepted_on
from faceref.errors import UsageError

if TYPE_CHECKING:  # at run time it takes a while, and is only named
    from faceref.download import Progress

AcceptLicence = Annotated[
    bool, typer.Option("--accept-licence", help="Agree to its licence without being asked; once for each version.")
]
Source = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DIR_OR_URL",
        help="A mirror, or a folder that has the files.",
        show_default="the authors' release page",
    ),
]


def agreed(what: Licensed, home: Path, already: bool) -> bool:
    """Whether the user agrees, by an option or when asked; who has agreed to this version before is not asked again."""
    if already or accepted_on(what, home) is not None:
        return already
    output.print(what.terms)
    return sys.stdin.isatty() and typer.confirm("Do you agree?")


def check_digest(digest: str, subject: str, hint: str) -> str:
    """A SHA-256 as somebody has typed it. Raises UsageError if it is none."""
    if not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise UsageError("is no digest of a file", subject=subject, hint=hint)
    return digest


@contextmanager
def bytes_bar() -> Iterator["Progress"]:
    """A progress bar for each file that is downloaded."""
    with Bar(*Bar.get_default_columns()[:2], DownloadColumn(), console=remarks) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        yield show
