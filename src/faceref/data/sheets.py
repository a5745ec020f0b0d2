"""Contact sheets: the faces of each identity, and of each suspicious bridge, for checking by eye."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from faceref.data.identities import FOLDER, Bridge, Identities
from faceref.files import write_atomically
from faceref.pictures.aligned import open_face

TILE = 112  # pixels
COLUMNS = 10
LABEL = 14  # pixels
MOST = 100  # faces shown of one identity


def draw_sheets(folder: Path, identities: Identities, progress: Callable = lambda drawn, total: drawn) -> int:
    """Draw FOLDER/identities/sheets/: PERSON.png for identities of two faces and more, bridge_N.png for bridges.

    Only suspicious bridges are drawn; bridges.csv has all. `progress` wraps the iteration over sheets. Sheets of
    earlier runs are removed. Returns how many were drawn.
    """
    out = folder / FOLDER / "sheets"
    shutil.rmtree(out, ignore_errors=True)
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
        for _ in progress(pool.map(lambda job: _draw(folder, *job), jobs), len(jobs)):
            pass
    return len(jobs)


def _halves(bridge: Bridge, persons: dict[str, str]) -> list[tuple[str, Sequence[str]]]:
    """The faces of each side, those first that have close ones on the other."""
    halves = []
    for side, (files, place) in enumerate(((bridge.left, 0), (bridge.right, 1))):
        near = {pair[place] for pair in bridge.pairs} | {pair[1 - place] for pair in bridge.pairs}
        ordered = sorted(files, key=lambda file: file not in near)
        close = sum(file in near for file in files)
        title = f"{'this' if side == 0 else 'and this'}: {persons[files[0]]}, {len(files)} photographs"
        halves.append((f"{title}; the first {close} are close to the other side ({bridge.why})", ordered))
    return halves


def _draw(folder: Path, path: Path, groups: list[tuple[str, Sequence[str]]]) -> None:
    """Groups one below the other, each under its title, each face over its name."""
    cell = TILE + LABEL
    rows = [-(-min(len(files), MOST) // COLUMNS) for _, files in groups]
    width = TILE * min(COLUMNS, max(max(len(files) for _, files in groups), 4))
    sheet = Image.new("RGB", (width, sum(rows) * cell + len(groups) * 2 * LABEL), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL - 3), 0
    for (title, files), count in zip(groups, rows, strict=True):
        shown = f" ({MOST} of them shown)" if len(files) > MOST else ""
        draw.text((2, top + 2), title + shown, fill="black", font=ImageFont.load_default(LABEL))
        top += 2 * LABEL
        for i, file in enumerate(files[:MOST]):
            x, y = i % COLUMNS * TILE, top + i // COLUMNS * cell
            sheet.paste(_tile(folder / file), (x, y))
            name = Path(file).name
            draw.text((x + 1, y + TILE), name if len(name) < 19 else "…" + name[-18:], fill="#444444", font=font)
        top += count * cell
    with write_atomically(path) as temporary:
        sheet.save(temporary)


def _tile(path: Path) -> Image.Image:
    return open_face(path).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS, reducing_gap=2.0)
