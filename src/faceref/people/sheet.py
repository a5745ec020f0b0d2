"""A person's faces as a picture to look at."""

from importlib.metadata import version
from pathlib import Path

from PIL import ImageOps

from faceref.people.person import Person
from faceref.pictures.output import save_picture
from faceref.pictures.sheets import grid, named, tile, titled

TILE, COLUMNS, GAP = 192, 6, 12  # pixels of a face; faces beside each other; pixels between them


def draw_person(person: Person, path: Path) -> None:
    """Write a PNG of all references, each over the end of its name, under the person's. Raises OutputError."""
    tiles = [named(tile(one.face, TILE), one.name, 12) for one in person.references]
    title = f"{person.name or 'references'} ({len(tiles)})"
    sheet = titled(grid(tiles, min(COLUMNS, len(tiles)), GAP), title, 18)
    save_picture(ImageOps.expand(sheet, GAP, "white"), path, metadata={"Software": f"faceref {version('faceref')}"})
