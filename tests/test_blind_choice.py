"""Blind test: a sheet for each face that changed, sides by lot, and votes counted by runs and by faces."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceref.errors import DataError

CHOICE = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "blind_choice.py"))
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
LEFT_FACE, RIGHT_FACE = ([[left, 10], [left, 50], [left + 40, 50], [left + 40, 10]] for left in (10, 100))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Two photographs: two faces of the first were changed, none of the second. Photographs black, results white."""
    folder = tmp_path_factory.mktemp("blind")
    photograph, result = folder / "group" / "photograph.png", folder / "1.png"
    photograph.parent.mkdir()
    Image.new("RGB", (160, 60), BLACK).save(photograph)
    Image.new("RGB", (160, 60), WHITE).save(result)
    changed = {"photograph": str(photograph), "references": [], "outcome": "changed", "result": str(result)}
    alone = {"photograph": str(photograph), "references": ["a"], "outcome": "left alone", "result": None, "quads": []}
    runs = [changed | {"quads": [LEFT_FACE, RIGHT_FACE]}, alone]
    (folder / "runs.json").write_text(json.dumps(runs))
    CHOICE["write_sheets"](folder, folder / "judge", seed=3)
    return folder / "judge"


def _sides(sheet: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The colours left and right in the lowest row, which is the face."""
    pixels = np.asarray(Image.open(sheet))
    return tuple(pixels[-1, 0].tolist()), tuple(pixels[-1, -1].tolist())


def test_each_changed_face_has_a_sheet_and_the_key_knows_the_sides(judged):
    key = json.loads((judged / "key.json").read_text())["sheets"]
    assert sorted(path.stem for path in (judged / "sheets").iterdir()) == sorted(key) == ["001", "002"]
    assert {(row["run"], row["face"]) for row in key.values()} == {(0, 0), (0, 1)}
    for number, row in key.items():
        left, _ = _sides(judged / "sheets" / f"{number}.png")
        assert left == (WHITE if row["result"] == "left" else BLACK)


def test_which_side_is_drawn_by_lot(judged):
    sides = set()
    for seed in range(8):
        CHOICE["write_sheets"](judged.parent, judged.parent / "drawn", seed=seed)
        key = json.loads((judged.parent / "drawn" / "key.json").read_text())["sheets"]
        sides.add(tuple(row["result"] for row in key.values()))
    assert len(sides) > 2


def test_a_run_is_worse_if_one_of_its_faces_is(judged):
    key = json.loads((judged / "key.json").read_text())["sheets"]
    other = {"left": "right", "right": "left"}
    votes = {number: row["result"] if row["face"] else other[row["result"]] for number, row in key.items()}
    (judged / "votes.json").write_text(json.dumps(votes))
    counts = CHOICE["counted"](judged)
    assert counts["faces on sheets"] == {"better": 1, "worse": 1}
    assert counts["all runs"] == {"worse": 1, "equal": 1}
    assert counts["group, without references"] == {"worse": 1}
    assert counts["group, with references"] == {"equal": 1}


@pytest.mark.parametrize("votes", [{"001": "left"}, {"001": "left", "002": "both"}])
def test_a_missing_or_unknown_vote_is_said(judged, votes):
    (judged / "votes.json").write_text(json.dumps(votes))
    with pytest.raises(DataError, match="of sheet 002"):
        CHOICE["counted"](judged)
