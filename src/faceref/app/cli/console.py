"""What the commands share in talking to a person: results go to standard output, remarks to standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Table

# what is printed are names: nothing in them is markup, or the name of a picture as in a:heart:b.jpg
output = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
WIDE = 100_000  # characters, more than any line has
SLOW = 3600.0  # seconds: what takes so long for two of its units has no estimate of the time left
remarks = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def show(table: Table) -> None:
    """Print a table as wide as its values; for a terminal that is narrower a line for each row: nothing is cut."""
    wide = Console(width=WIDE, highlight=False, markup=False, emoji=False)
    if output.is_terminal and wide.measure(table).maximum > output.width:
        headings = [str(column.header) for column in table.columns]
        for row in zip(*(column.cells for column in table.columns), strict=True):
            told = [f"{heading} {cell}".strip() for heading, cell in zip(headings, row, strict=True) if cell != "-"]
            output.print(", ".join(filter(None, told)))
    else:
        (output if output.is_terminal else wide).print(table)


def counted(number: int, what: str) -> str:
    """As "1 photograph" and "2 photographs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say(sentence: str) -> None:
    """An error or a warning, word for word."""
    print(sentence, file=sys.stderr)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is being done for as long as it is; nothing where standard error is no terminal."""
    with Live(Spinner("dots", what), console=remarks, transient=True):  # remarks.status would draw it later
        yield


@contextmanager
def progress(description: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for (units done, units in all), shown from its first call; none unless in a terminal.

    Another number of units in all begins it anew: other work, of another speed.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
    )
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=remarks,
        transient=True,
        disable=not remarks.is_terminal,
        speed_estimate_period=SLOW,
    )
    task = bar.add_task(description, total=None)

    def update(done: int, total: int) -> None:
        if total != bar.tasks[0].total:
            bar.reset(task, total=total)
        bar.update(task, completed=done)
        bar.start()  # not before: rich 13.7 leaves an empty line of a bar that was never shown

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()
