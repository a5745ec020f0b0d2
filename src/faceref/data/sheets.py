"""Contact sheets: the faces of each identity, and of each suspicious bridge, for checking by eye."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faceref.data.identities import SHEETS, Bridge, Identities
from faceref.files import write_atomically
from faceref.jobs import OnItem
from faceref.pictures.aligned import open_face
from faceref.pictures.sheets import below, grid, named, tile, titled

TILE = 112  # pixels
COLUMNS = 10
TITLE, NAME = 14, 11  # pixels
MOST = 100  # faces shown of one identity


def draw_sheets(folder: Path, identities: Identities, on_sheet: OnItem = lambda *_: None) -> int:
    """Draw FOLDER/identities/sheets/: PERSON.png for identities of two faces and more, bridge_N.png for bridges.

    Only suspicious bridges are drawn; bridges.csv has all. `write_findings` has removed those of earlier runs.
    on_sheet: told how far it is. Returns how many were drawn.
    """
    out = folder / SHEETS
    persons = identities.persons()
    jobs: list[tuple[Path, list[tuple[str, Sequence[str]]]]] = []
    for files in identities.groups():
        if len(files) > 1:
            person = persons[files[0]]
            jobs.append((out / f"{person}.png", [(f"{person}: {len(files)} photographs", files)]))
    for number, bridge in enumerate(identities.bridges, start=1):
        if bridge.suspicious:
            jobs.append((out / f"bridge_{number}.png", _halves(bridge, persons)))
    with ThreadPoolExecutor() as pool:
        for drawn, _ in enumerate(pool.map(lambda job: _draw(folder, *job), jobs), start=1):
            on_sheet(drawn, len(jobs))
    return len(jobs)


def _halves(bridge: Bridge, persons: dict[str, str]) -> list[tuple[str, Sequence[str]]]:
    """The faces of each side, those first that have close ones on the other."""
    halves = []
    near = {file for pair in bridge.pairs for file in pair}
    for side, files in enumerate((bridge.left, bridge.right)):
        ordered = sorted(files, key=lambda file: file not in near)
        close = sum(file in near for file in files)
        title = f"{'this' if side == 0 else 'and this'}: {persons[files[0]]}, {len(files)} photographs"
        halves.append((f"{title}; the first {close} are close to the other side ({bridge.why})", ordered))
    return halves


def _draw(folder: Path, path: Path, groups: list[tuple[str, Sequence[str]]]) -> None:
    """Groups one below the other, each under its title, each face over its name."""
    sheets = []
    for title, files in groups:
        shown = f" ({MOST} of them shown)" if len(files) > MOST else ""
        faces = [named(tile(open_face(folder / file), TILE), Path(file).name, NAME) for file in files[:MOST]]
        sheets.append(titled(grid(faces, COLUMNS), title + shown, TITLE))
    with write_atomically(path) as temporary:
        below(sheets).save(temporary)
