"""The tree of photographs that tests of folders restore (`tree` of conftest.py), and what becomes of it."""

from pathlib import Path

from faceref.restore.folder import JOURNAL, Outcome


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.photo: outcome.status for outcome in outcomes}


STATUSES = {
    "portrait.jpg": "restored",
    "1950/portrait.bmp": "restored",
    "1950/summer/wall.png": "copied",
    "broken.jpg": "failed",
}
RESULTS = {"portrait.jpg", "1950/portrait.png", "1950/summer/wall.png", JOURNAL}
