"""What became of a tree of photographs, for people: a table, and sheets of the faces before and after."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from faceref.errors import FacerefError, OutputError, printable
from faceref.files import write_atomically
from faceref.jobs import OnItem
from faceref.pictures.colour import as_srgb
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.output import save_picture
from faceref.pictures.photo import Photo, open_photo
from faceref.pictures.sheets import beside, grid, named, tile, titled
from faceref.restore.account import Account, called
from faceref.restore.folder import JOURNAL, SHEETS, Outcome

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
HEADER = ",".join(COLUMNS).encode()
TILE, GAP, LETTERS = 160, 16, 12  # pixels
COLUMNS_OF_TILES, ROWS = 4, 6  # of a sheet
A_SHEET = COLUMNS_OF_TILES * ROWS
AROUND = 0.25  # of the longer side of the face's box, shown on each side of it


def check_own(out: Path) -> None:
    """Raises OutputError if a summary or a sheet would replace what is none of ours."""
    theirs = [path for path in sorted(out.glob(SHEETS)) if not is_marked_restored(path)]
    summary = out / SUMMARY
    if summary.exists() and summary.read_bytes()[: len(HEADER)] != HEADER:
        theirs.append(summary)
    if theirs:
        hint = "move it away or choose another folder"
        raise OutputError("is there already and is none of ours", subject=theirs[0], hint=hint)


def write_summary(out: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write summary.csv, a row for each photograph by name. Raises OutputError.

    people, certainty: who each restored face was taken for, in the order of the faces; somebody without a name is
    called by a photograph of theirs.
    """
    path = out / SUMMARY
    with write_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(outcome) for outcome in sorted(outcomes, key=lambda one: one.photo))
    return path


def draw_sheets(photos: Path, out: Path, outcomes: Sequence[Outcome], on_photo: OnItem = lambda *_: None) -> list[Path]:
    """Draw the first restored face of each photograph before and after, from the files; our sheets of earlier runs go.

    Those that are newer than what is recorded in the folder stay as they are. Pictures that have vanished since are
    passed over. on_photo: told how far it is. Raises OutputError.
    """
    restored = sorted((one for one in outcomes if one.status == "restored"), key=lambda one: one.photo)
    expected = [_sheet(out, number) for number in range(1, -(-len(restored) // A_SHEET) + 1)]
    if sorted(out.glob(SHEETS)) == sorted(expected) and _are_newer(expected, out / JOURNAL):
        return expected
    sheets: list[Path] = []
    for start in range(0, len(restored), A_SHEET):
        tiles = []
        for number, outcome in enumerate(restored[start : start + A_SHEET], start=start + 1):
            with suppress(FacerefError):
                tiles.append(_before_and_after(photos, out, outcome))
            on_photo(number, len(restored))
        if tiles:
            sheets.append(_sheet(out, len(sheets) + 1))
            which = f"{start + 1} to {start + len(tiles)} of {len(restored)}"
            title = f"Restored faces, each before (left) and after (right); photographs {which}"
            sheet = titled(grid(tiles, COLUMNS_OF_TILES, GAP), title, 16)
            metadata = {"Software": f"faceref {version('faceref')}"}
            save_picture(ImageOps.expand(sheet, GAP, "white"), sheets[-1], metadata=metadata)
    for path in set(out.glob(SHEETS)) - set(sheets):
        if is_marked_restored(path):
            path.unlink()
    return sheets


def _are_newer(sheets: Sequence[Path], journal: Path) -> bool:
    return all(sheet.stat().st_mtime_ns > journal.stat().st_mtime_ns for sheet in sheets)


def _sheet(out: Path, number: int) -> Path:
    return out / SHEETS.replace("*", str(number))


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {
        "photo": _cell(outcome.photo),
        "status": outcome.status,
        "result": _cell(outcome.result or ""),
        "reason": _cell(outcome.reason or ""),
        "warnings": _cell(" ".join(outcome.all_warnings)),
    }
    if outcome.account is None:
        return row
    account = Account(**outcome.account)
    matches = [face.matches[0] for face in account.faces if face.restored and face.matched and face.matches]
    return row | {
        "faces": len(account.faces),
        "restored": sum(face.restored for face in account.faces),
        "people": _cell("; ".join(called(match.person, match.files) for match in matches)),
        "certainty": "; ".join(f"{match.certainty:.2f}" for match in matches),
    }


def _cell(text: str) -> str:
    """What a spreadsheet takes for text, and for no formula, though a file's name is in it."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _before_and_after(photos: Path, out: Path, outcome: Outcome) -> Image.Image:
    """The first restored face of a photograph over the photograph's name and who it was taken for."""
    account = Account(**(outcome.account or {}))
    first, *others = [face for face in account.faces if face.restored]
    larger = first.box and tuple(account.enlargement * edge for edge in first.box)
    before = _face(open_photo(photos / outcome.photo), first.box)
    after = _face(open_photo(out / str(outcome.result)), larger)
    who, sure = "restored without references", []
    if first.matched and first.matches:
        best = first.matches[0]
        who = best.person or f"same person {called(None, best.files)}"
        sure = [f"{best.certainty:.0%} sure"]
    more = [f"{len(others)} more faces restored" if len(others) > 1 else "1 more face restored"] if others else []
    pair = beside([tile(before, TILE), tile(after, TILE)], gap=2)
    for line in (printable(outcome.photo), who, "; ".join(sure + more)):
        pair = named(pair, line, LETTERS)
    return pair


def _face(photo: Photo, box: tuple[float, ...] | None) -> Image.Image:
    """A square with a face's box and what is around it, moved into the picture, in sRGB; without a box all of it."""
    picture = as_srgb(photo.image, photo.file.icc_profile)
    if box is None:
        return picture
    left, top, right, bottom = box
    side = min(round((1 + 2 * AROUND) * max(right - left, bottom - top)), picture.width, picture.height)
    x = min(max(round((left + right - side) / 2), 0), picture.width - side)
    y = min(max(round((top + bottom - side) / 2), 0), picture.height - side)
    return picture.crop((x, y, x + side, y + side))
