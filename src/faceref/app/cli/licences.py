"""`faceref licences`: whose terms apply, to everything or to a command as it would be typed."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from faceref.app.cli.console import output, show
from faceref.errors import UsageError
from faceref.licences import OTHER_MODEL, PARTS, Use, part_of_model, parts_of

WITH_MODELS = ("restore", "serve", "evaluate", "bench", "models export", "models push")  # that a model is used by

LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")


def licences(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND...]", help="A command with its options, as restore --model refldm-512."),
    ] = None,
) -> None:
    """Say whose terms apply to what, of all parts or of those that a command uses; LICENSES.md says more."""
    from faceref.checkpoints.info import find_model, read_info

    arguments = [*(command or ()), *context.args]
    use = _use(context.find_root().command, arguments) if arguments else None
    table = Table("part", "from", "terms", "in products?", box=None, padding=(0, 2))
    for part in parts_of(use) if use else PARTS:
        table.add_row(*map(_plain, (part.name, part.origin, part.terms, part.products)))
    show(table)
    for model in use.models if use else ():
        if part_of_model(model) is OTHER_MODEL:
            output.print(f"{model}: {read_info(find_model(model)).licence}")


def _plain(markdown: str) -> str:
    """Without code's quotes; of a link its words and, behind them, where it leads."""
    return LINK.sub(r"\1 (\2)", markdown.replace("`", ""))


def _use(group: Any, arguments: Sequence[str]) -> Use:
    """What the arguments would make a command use; it is not run. Raises UsageError if there is no such command."""
    names: list[str] = []
    rest, command = list(arguments), group
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            raise UsageError(
                f"There is no command {' '.join([*names, *rest[:1]])!r}",
                hint=f"name one of {', '.join(sorted(command.commands))}",
            )
        names.append(rest.pop(0))
        command = command.commands[names[-1]]
    given = command.make_context(command.name, rest, resilient_parsing=True).params
    models = () if given.get("random") else given.get("models") or given.get("model") or ()
    models = [models] if isinstance(models, str) else [str(model).partition(",")[0] for model in models]
    shown = bool(given.get("product")) or (names == ["bench"] and bool(given.get("photo")))  # a whole photograph
    in_photographs = names == ["restore"] and not given["aligned"]
    return Use(
        " ".join(names),
        models=tuple(models) if " ".join(names) in WITH_MODELS else (),
        detector=str(given.get("detector") or "mtcnn"),
        finds_faces=in_photographs or shown,
        landmarks=str(given["landmarks"] or "dlib") if names == ["restore"] else "dlib" if shown else None,
        recogniser=given["recogniser"] if names == ["restore"] else "trained" if shown else None,
        background=given.get("background"),
    )
