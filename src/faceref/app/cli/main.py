"""The command `faceref`: its subcommands, one file each, and what happens when one of them fails."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from faceref.app.cli import arguments, bench, data, evaluate, licences, models, people, restore, serve, train
from faceref.app.cli.console import say
from faceref.app.cli.wording import OUT_OF_MEMORY, sentence
from faceref.errors import FacerefError
from faceref.lean import import_late

GLOBAL_FLAGS = ("--debug", "--verbose", "-v")
MAY_BE_EMPTY = ("--reference-counts",)  # "" for none
MisusedCommand: Any = typer.BadParameter.__base__  # click's UsageError, of whichever click typer brings along


class FacerefGroup(TyperGroup):
    """Ends with one sentence and an exit code where the user can mend something; global flags may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        flags = [argument for argument in args[:end] if argument in GLOBAL_FLAGS]
        others = [argument for argument in args[:end] if argument not in GLOBAL_FLAGS]
        with _misuse_in_a_sentence():
            _check_not_empty(args)
            return super().parse_args(ctx, [*flags, *others, *args[end:]])

    def invoke(self, ctx: Any) -> Any:
        try:
            with _misuse_in_a_sentence():
                return super().invoke(ctx)
        except FacerefError as error:
            if ctx.params["debug"]:
                raise
            say(sentence(error))
            raise typer.Exit(error.exit_code) from error
        except OSError as error:  # of a file that nobody thought of; a closed pipe is for typer
            if ctx.params["debug"] or isinstance(error, BrokenPipeError) or error.strerror is None:
                raise
            say(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}.")
            raise typer.Exit(1) from error
        except typer.Exit:  # which is a RuntimeError
            raise
        except RuntimeError as error:  # torch's, of a device; `restore` tries smaller pieces before it comes to this
            from faceref.devices import is_out_of_memory

            if ctx.params["debug"] or not is_out_of_memory(error):
                raise
            say(OUT_OF_MEMORY)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            say("Interrupted; no half-written picture or model was left behind.")
            raise typer.Exit(1) from error


def _check_not_empty(args: list[str]) -> None:
    """Nothing is no file's name, as where a shell's variable is not set; pathlib takes it for the folder one is in."""
    for before, argument in pairwise(["faceref", *args]):
        option, has_value, value = argument.partition("=") if argument.startswith("--") else (before, True, argument)
        if has_value and not value and option not in MAY_BE_EMPTY:
            raise MisusedCommand(f"The argument behind {option} is empty, and names nothing")


@contextmanager
def _misuse_in_a_sentence() -> Iterator[None]:
    """What is wrong with the words of a command line: one sentence, as for all else, not typer's four lines."""
    try:
        yield
    except MisusedCommand as error:
        reason = error.format_message()
        if "\n" in reason:  # the help of a command that was given nothing
            raise
        command = error.ctx.command_path if error.ctx else "faceref"
        say(f"{reason.removesuffix('.')}; see {command} --help.")
        raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    cls=FacerefGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"faceref {version('faceref')}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an error came from.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Restore faces in photographs so that they stay the persons they are."""
    if isinstance(sys.stdout, TextIOWrapper):  # a name may have letters that a pipe or a terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python has it for standard error
    import_late()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("faceref").setLevel(logging.INFO if verbose or debug else logging.WARNING)
    logging.getLogger("faceref.checkpoints.exported").setLevel(logging.INFO)  # it says why one waits for a minute


app.command(cls=arguments.PhotosThenReferences, no_args_is_help=True)(restore.restore)
app.command(no_args_is_help=True)(train.train)
app.command(no_args_is_help=True)(evaluate.evaluate)
app.command()(bench.bench)
app.command()(serve.serve)
app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(licences.licences)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(people.app, name="people")


def main() -> None:
    """The entry point of the command."""
    app()
