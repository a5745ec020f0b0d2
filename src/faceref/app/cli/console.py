"""What the commands share in talking to a person: results go to standard output, remarks to standard error."""

import sys

from rich.console import Console

output = Console(highlight=False, markup=False, soft_wrap=True)
remarks = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def say(sentence: str) -> None:
    """An error or a warning, word for word."""
    print(sentence, file=sys.stderr)
