"""A person's faces as a picture to look at."""

from pathlib import Path

from faceref.files import write_atomically
from faceref.people.person import Person
from faceref.pictures.sheets import grid, named, tile

TILE, COLUMNS = 192, 6  # pixels of a face; faces beside each other


def draw_person(person: Person, path: Path) -> None:
    """Write a PNG of all references, each over the end of its name. Raises OutputError."""
    tiles = [named(tile(one.face, TILE), one.name, 12) for one in person.references]
    with write_atomically(path) as temporary:
        grid(tiles, min(COLUMNS, len(tiles)), gap=6).save(temporary, "PNG")
