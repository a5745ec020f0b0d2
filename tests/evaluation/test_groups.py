"""The angle is measured on skin, people and not photographs are grouped by it, and labels come from a table."""

from pathlib import Path

import numpy as np
import pytest
import skimage.color

from faceref.errors import DataError
from faceref.evaluation.groups import by_ita, individual_typology_angle, read_groups

# Where the 68 landmarks of a face that fills a 64 px picture lie: jaw, brows, nose, eyes, mouth
T = np.linspace(0, np.pi, 17)
JAW = np.stack([32 - 28 * np.cos(T), 20 + 40 * np.sin(T)], axis=1)
BROWS = np.stack([np.r_[np.linspace(8, 28, 5), np.linspace(36, 56, 5)], np.full(10, 12)], axis=1)
NOSE = np.r_[
    np.stack([np.full(4, 32), np.linspace(20, 34, 4)], axis=1), np.stack([np.linspace(28, 36, 5), np.full(5, 37)], 1)
]
EYE = np.array([(14, 22), (17, 20), (20, 20), (23, 22), (20, 24), (17, 24)])
MOUTH = np.stack(
    [32 - 9 * np.cos(np.linspace(0, 2 * np.pi, 20)), 47 + 3 * np.sin(np.linspace(0, 2 * np.pi, 20))], axis=1
)
LANDMARKS = np.concatenate([JAW, BROWS, NOSE, EYE, EYE + np.array([27, 0]), MOUTH]).astype(np.float32)


def face_of(lightness: float, b: float) -> np.ndarray:
    """A face of one skin colour (CIELAB, a* 10), with green eyes, mouth and surroundings; uint8 [64, 64, 3]."""
    picture = np.full((64, 64, 3), (0, 160, 0), np.uint8)
    skin = np.rint(255 * skimage.color.lab2rgb(np.array([[[lightness, 10.0, b]]])))[0, 0].astype(np.uint8)
    picture[8:60, 4:60] = skin
    for left, top, right, bottom in ((14, 20, 24, 25), (41, 20, 51, 25), (23, 44, 42, 51)):
        picture[top:bottom, left:right] = (0, 160, 0)
    return picture


@pytest.mark.parametrize(
    ("lightness", "b", "degrees"),
    [(70.0, 20.0, 45.0), (50.0, 20.0, 0.0), (35.0, 15.0, -45.0)],  # arctan((L - 50) / b)
)
def test_the_angle_is_that_of_the_skin_alone(lightness: float, b: float, degrees: float):
    assert individual_typology_angle(face_of(lightness, b), LANDMARKS) == pytest.approx(degrees, abs=2)


def test_a_black_and_white_photograph_has_no_angle():
    grey = face_of(70, 20).mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    assert np.isnan(individual_typology_angle(grey, LANDMARKS))


def rows(*of_people: tuple[str, list[float]]) -> list[dict[str, str | float]]:
    return [
        {"identity": who, "image": f"{who}/{i}", "ita": ita, "condition": condition, "group": ""}
        for who, angles in of_people
        for i, ita in enumerate(angles)
        for condition in ("lq", "refs-5")
    ]


def test_people_are_grouped_by_the_median_of_their_photographs():
    nan = float("nan")
    grouped = by_ita(rows(("ann", [40, 42, -60]), ("bea", [nan, 20]), ("cid", [-30, 0, -10]), ("dan", [nan])))
    groups = {str(row["identity"]): str(row["group"]) for row in grouped}
    assert len(grouped) == 2 * 9
    assert all(row["group"] == groups[str(row["identity"])] for row in grouped)
    assert groups["cid"].startswith("1 of 3, darkest: ITA below")
    assert groups["bea"].startswith("2 of 3")
    assert groups["ann"].startswith("3 of 3, lightest")
    assert groups["dan"] == "without colour"
    assert {row["group"] for row in by_ita(rows(("dan", [nan])))} == {"without colour"}


def test_labels_come_from_a_column_of_a_table(album: Path):
    assert read_groups(album / "index.csv", "hair")["bea/1.png"] == "dark"
    with pytest.raises(DataError, match="lacks the column 'age'"):
        read_groups(album / "index.csv", "age")


def test_a_line_without_a_label_is_of_no_group_and_blanks_make_none(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file,sex\na.png,f\nb.png\nc.png,f \n")
    assert read_groups(tmp_path / "labels.csv", "sex") == {"a.png": "f", "b.png": "", "c.png": "f"}
