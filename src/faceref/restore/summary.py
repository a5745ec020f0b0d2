"""What became of a tree of photographs, for people: a table, and sheets of the faces before and after."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from faceref.errors import FacerefError, printable
from faceref.files import write_atomically
from faceref.pictures.output import save_picture
from faceref.pictures.photo import open_photo
from faceref.pictures.sheets import beside, grid, named, tile
from faceref.restore.account import Account
from faceref.restore.folder import SHEETS, Outcome

SUMMARY = "summary.csv"
COLUMNS: tuple[str, ...] = (
    "photo",
    "status",
    "result",
    "faces",
    "restored",
    "people",
    "certainty",
    "reason",
    "warnings",
)
TILE, COLUMNS_OF_TILES, ROWS = 160, 4, 6  # of a sheet; TILE in pixels
AROUND = 0.4  # of the face's box, shown on each side


def write_summary(out: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write summary.csv, a row for each photograph by name. Raises OutputError.

    people, certainty: the best match of each face that is named, in the order of the faces.
    """
    path = out / SUMMARY
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(outcome) for outcome in sorted(outcomes, key=lambda one: one.photo))
    return path


def draw_sheets(photos: Path, out: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Draw the first restored face of each photograph before and after, from the files; sheets of earlier runs go.

    Pictures that have vanished since are passed over. Raises OutputError.
    """
    restored = sorted((one for one in outcomes if one.status == "restored"), key=lambda one: one.photo)
    sheets: list[Path] = []
    for start in range(0, len(restored), COLUMNS_OF_TILES * ROWS):
        tiles = []
        for outcome in restored[start : start + COLUMNS_OF_TILES * ROWS]:
            with suppress(FacerefError):
                tiles.append(_before_and_after(photos, out, outcome))
        if tiles:
            sheets.append(out / SHEETS.replace("*", str(len(sheets) + 1)))
            save_picture(
                grid(tiles, COLUMNS_OF_TILES, gap=8), sheets[-1], metadata={"Software": f"faceref {version('faceref')}"}
            )
    for path in set(out.glob(SHEETS)) - set(sheets):
        path.unlink()
    return sheets


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {
        "photo": printable(outcome.photo),
        "status": outcome.status,
        "result": printable(outcome.result or ""),
        "reason": outcome.reason or "",
    }
    if outcome.account is None:
        return row
    account = Account(**outcome.account)
    matches = [face.matches[0] for face in account.faces if face.person and face.matches]
    return row | {
        "faces": len(account.faces),
        "restored": sum(face.restored for face in account.faces),
        "people": "; ".join(str(match.person) for match in matches),
        "certainty": "; ".join(f"{match.certainty:.2f}" for match in matches),
        "warnings": " ".join(account.warnings),
    }


def _before_and_after(photos: Path, out: Path, outcome: Outcome) -> Image.Image:
    account = Account(**(outcome.account or {}))
    box = next(face.box for face in account.faces if face.restored)
    larger = box and tuple(account.enlargement * edge for edge in box)
    before = _face(open_photo(photos / outcome.photo).image, box)
    after = _face(open_photo(out / str(outcome.result)).image, larger)
    return named(beside([tile(before, TILE), tile(after, TILE)]), printable(outcome.photo), 12)


def _face(picture: Image.Image, box: tuple[float, ...] | None) -> Image.Image:
    """What lies in a face's box and around it; without a box the picture is the face."""
    if box is None:
        return picture
    left, top, right, bottom = box
    x, y = AROUND * (right - left), AROUND * (bottom - top)
    around = (left - x, top - y, right + x, bottom + y)
    return picture.crop(
        (
            max(round(around[0]), 0),
            max(round(around[1]), 0),
            min(round(around[2]), picture.width),
            min(round(around[3]), picture.height),
        )
    )
