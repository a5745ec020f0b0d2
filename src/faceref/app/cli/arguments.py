"""How the command reads `PHOTO... --ref FILES...`, and lists of numbers."""

import os
from typing import Any

from typer.core import TyperCommand

from faceref.errors import UsageError


class PhotosThenReferences(TyperCommand):
    """Lets --ref take all that follows it up to the next option, as a shell expands `--ref photos/*.jpg`.

    After that option no file may follow, since it could be a photograph as well as a reference, unless `--` says that
    photographs follow.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        with_value = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        spread: list[str] = []
        is_value = after_ref = had_ref = had_photo = False
        for number, argument in enumerate(args):
            if is_value:
                is_value = False
            elif argument == "--":
                had_photo = had_photo or number + 1 < len(args)
                spread += args[number:]
                break
            elif argument.startswith("-") and argument not in options and os.path.exists(argument):
                raise UsageError("begins as an option does", subject=argument, hint=f"write ./{argument}")
            elif argument.startswith("-"):
                is_value = argument in with_value
                after_ref = argument.partition("=")[0] == "--ref"
                had_ref = had_ref or after_ref
            elif after_ref:
                spread.append("--ref")
            elif had_ref:
                raise UsageError(
                    f"{argument} could be a photograph or a reference; put photographs before all options and "
                    "references right after --ref."
                )
            else:
                had_photo = True
            spread.append(argument)
        # with resilient_parsing a command is looked at, not run
        if had_ref and not had_photo and "--help" not in args and not ctx.resilient_parsing:
            raise UsageError("No photograph to restore was given", hint="put it before --ref, which takes all after it")
        return super().parse_args(ctx, spread)


def numbers(text: str, option: str, at_least: int = 0) -> tuple[int, ...]:
    """What an option like `--references 1,3` was given. Raises UsageError for anything else, or smaller numbers."""
    try:
        given = tuple(int(number) for number in text.split(",") if number)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a list of numbers like 1,3", subject=option) from error
    if not given or min(given) < at_least:
        raise UsageError(f"{text!r} has to name numbers, {at_least} or more", subject=option)
    return given
