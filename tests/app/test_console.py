"""What is shown in a terminal can be read, however narrow it is."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from faceref.app.cli import console

WHO = "as on Alan_Greenspan_0002.jpg"
WHY = "left alone: it is not surely anybody whose references were given"


@pytest.fixture
def table() -> Table:
    table = Table("face", "person", "second best", "certainty", "", box=None, padding=(0, 2))
    table.add_row("1 of 2", WHO, "as on Christine_Todd_Whitman_0006.jpg 12%", "97%", "")
    table.add_row("2 of 2", "-", "-", "-", WHY)
    return table


def shown(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """As in a terminal of so many columns, whose own line ends do not count."""
    file = io.StringIO()
    monkeypatch.setattr(
        console, "output", Console(file=file, force_terminal=True, color_system=None, width=width, soft_wrap=True)
    )
    console.show(table)
    return file.getvalue()


def test_a_table_that_the_terminal_is_too_narrow_for_is_a_line_for_each_row(table, monkeypatch):
    assert shown(table, 80, monkeypatch).splitlines() == [
        f"face 1 of 2, person {WHO}, second best as on Christine_Todd_Whitman_0006.jpg 12%, certainty 97%",
        f"face 2 of 2, {WHY}",
    ]


def test_a_name_is_printed_as_it_is(capsys):
    table = Table("photograph", box=None)
    table.add_row("a:heart:[b].jpg")
    console.show(table)
    console.output.print("c:sun:[d].jpg")
    printed = capsys.readouterr().out
    assert "a:heart:[b].jpg" in printed
    assert "c:sun:[d].jpg" in printed


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_that_was_never_shown_leaves_nothing(terminal: bool, monkeypatch: pytest.MonkeyPatch):
    file = io.StringIO()
    monkeypatch.setattr(console, "remarks", Console(file=file, force_terminal=terminal))
    with console.progress("reading", "photographs") as on_photo:
        assert file.getvalue() == ""
    assert file.getvalue() == ""
    with console.progress("reading", "photographs") as on_photo:
        on_photo(1, 3)
    assert ("1/3 photographs" in file.getvalue()) is terminal


def test_a_table_that_fits_is_a_table(table, monkeypatch):
    heading, first, second = shown(table, 200, monkeypatch).splitlines()
    assert heading.index("certainty") == first.index("97%")
    assert second.rstrip().endswith(WHY)
