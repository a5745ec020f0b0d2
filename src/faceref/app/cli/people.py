"""`faceref people`: people kept for next time; `restore --person NAME` needs no photographs of them any more."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from faceref.app.cli.console import counted, output, progress, say, show
from faceref.errors import UsageError
from faceref.restore.options import help_text

if TYPE_CHECKING:  # at run time imported on use: --help need not wait for torch
    from faceref.people.person import Person

app = typer.Typer(no_args_is_help=True, help="Keep people for next time.", rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call the person.", show_default=False)]
Photographs = Annotated[
    list[Path],
    typer.Argument(metavar="PHOTOS...", help="Good photographs of the person, or folders.", show_default=False),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FACEREF_DATA_DIR",
        help="Where people and what was seen in albums are kept.",
        show_default="your user folders",
    ),
]
Largest = Annotated[bool, typer.Option("--largest-reference-face", help=help_text("largest_reference_face"))]


@app.command()
def enroll(name: Name, photos: Photographs, largest_reference_face: Largest = False, data_dir: DataDir = None) -> None:
    """Keep a new person: the aligned faces of the photographs, and how they are recognised."""
    from faceref.people.library import Library, check_name

    library, name = Library(data_dir), check_name(name)
    library.check_free(name)  # a name that is taken is said before the photographs are read
    person = _read(photos, largest_reference_face)
    library.enroll(name, person)
    _warn(library.get(name))
    output.print(f"{name}: {counted(len(person.references), 'reference')}")


@app.command()
def add(name: Name, photos: Photographs, largest_reference_face: Largest = False, data_dir: DataDir = None) -> None:
    """Keep more photographs of a person; those that are there already do not count again."""
    from faceref.people.library import Library
    from faceref.people.names import name_now

    library = Library(data_dir)
    known_by = library.digests(name)  # an unknown name is said before the photographs are read
    read = _read(photos, largest_reference_face)
    called = name_now(library, name, known_by)  # reading takes a while
    new, person = library.add(called, read), library.get(called)
    _warn(person)
    output.print(f"{person.name}: {counted(new, 'new reference')}, {len(person.references)} in all")


@app.command("list")
def list_people(data_dir: DataDir = None) -> None:
    """Everybody who is kept."""
    from faceref.people.library import Library

    library = Library(data_dir)
    table = Table("name", "references", "since", box=None)
    for one in library.everybody():
        table.add_row(one.name, str(one.references), one.enrolled)
    show(table)
    output.print(f"in {library.path}")


@app.command("show")
def show_person(
    name: Name,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File of the sheet.", show_default="NAME_faces.png here")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a person's faces on a sheet, and say where they came from."""
    from faceref.people.library import Library
    from faceref.people.sheet import draw_person
    from faceref.pictures.naming import check_outputs

    person = Library(data_dir).get(name)
    target = out or Path(f"{person.name}_faces.png")
    check_outputs([target], [])
    draw_person(person, target)
    for reference in person.references:
        output.print(reference.name)
    _warn(person)
    output.print(f"{person.name}: {counted(len(person.references), 'reference')}, drawn in {target}")


@app.command()
def rename(
    name: Name, new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)], data_dir: DataDir = None
) -> None:
    """Call a person something else."""
    from faceref.people.library import Library

    was, now = Library(data_dir).rename(name, new)
    output.print(f"{was} is now {now}")


@app.command()
def merge(
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Who is the same person.", show_default=False)],
    data_dir: DataDir = None,
) -> None:
    """Two names are one person: the references of OTHER become those of NAME."""
    from faceref.people.library import Library

    library = Library(data_dir)
    kept, gone = library.merge(name, other)
    person = library.get(kept)
    _warn(person)
    output.print(f"{gone} is now {kept}: {counted(len(person.references), 'reference')}")


@app.command()
def remove(name: Name, data_dir: DataDir = None) -> None:
    """Forget a person, and what was seen in albums (forget-albums), where they may be; nothing of that stays."""
    from faceref.people.album_index import AlbumIndex
    from faceref.people.library import Library

    gone = Library(data_dir).remove(name)
    output.print(f"{gone} is removed; sheets ({gone}_faces.png) and exports of theirs stay where they were written")
    _say_forgotten(AlbumIndex(data_dir).clear())


@app.command()
def forget_albums(data_dir: DataDir = None) -> None:
    """Forget what was seen in albums, by --ref and find; they are looked at anew when they are given again."""
    from faceref.people.album_index import AlbumIndex

    _say_forgotten(AlbumIndex(data_dir).clear())


@app.command()
def find(
    album: Annotated[
        list[Path], typer.Argument(metavar="ALBUM...", help="Folders or photographs.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each face.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Say who of those who are kept is on which photographs; what was seen in them is remembered."""
    from faceref.faces.detect import load_detector
    from faceref.faces.dlib_torch import TorchDlibRecogniser
    from faceref.people.album import read_album
    from faceref.people.album_index import AlbumIndex
    from faceref.people.finding import find_people
    from faceref.people.library import Library

    library = Library(data_dir)
    people = [library.get(one.name) for one in library.everybody()]
    if not people:
        raise UsageError("Nobody is enrolled, so that nobody can be found", hint="enroll people first")
    with progress("looking", "photographs") as on_photo:
        seen = read_album(album, load_detector(), TorchDlibRecogniser(), AlbumIndex(data_dir), on_photo=on_photo)
    found = find_people(seen, people)
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
    else:
        table = Table("person", "photograph", "certainty", box=None)
        for one in found:
            table.add_row(one.person, one.photo, f"{one.certainty:.0%}")
        show(table)
        looked_at = sum(1 + len(photo.copies) for photo in seen.photos)
        output.print(f"{len({one.photo for one in found})} of {looked_at} photographs")
    for skipped in seen.skipped:
        say(f"Left out: {skipped.name}: {skipped.reason}")


@app.command()
def export(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.", show_default=False)],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Who; everybody by default.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write people to one file, for another machine or for safety. It holds their faces: keep it as you keep those."""
    from faceref.people.library import Library

    Library(data_dir).export(names or [], path)
    output.print(f"{path}")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote.", show_default=False)],
    data_dir: DataDir = None,
) -> None:
    """Take in the people of an exported file."""
    from faceref.people.library import Library

    for name in Library(data_dir).import_(path):
        output.print(name)


def _say_forgotten(photographs: int) -> None:
    output.print(f"forgotten: what was seen in {counted(photographs, 'photograph')} of albums")


def _read(photos: list[Path], largest_face: bool) -> "Person":
    """The person on the photographs; what cannot be used of them, or is damaged or poor, is said."""
    from faceref.faces.detect import load_detector
    from faceref.faces.dlib_torch import TorchDlibRecogniser
    from faceref.people.references import poor_references, read_person

    detector, recogniser = load_detector(), TorchDlibRecogniser()
    with progress("references", "photographs") as on_photo:
        person = read_person(photos, detector, recogniser, largest_face=largest_face, on_photo=on_photo)
    for skipped in person.skipped:
        say(f"Reference left out: {skipped.name}: {skipped.reason}")
    damaged = [warning for reference in person.references for warning in reference.warnings]
    for warning in (*damaged, *poor_references(person.references)):
        say(f"Warning: {warning}")
    return person


def _warn(person: "Person") -> None:
    for warning in person.warnings:
        say(f"Warning: {warning}")
