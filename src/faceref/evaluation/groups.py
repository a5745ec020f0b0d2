"""For whom is it good: photographs in groups, by labels that somebody has, or by how light the skin is in them."""

from pathlib import Path

import cv2
import numpy as np

from faceref.data.table import read_table
from faceref.faces.sharpness import face_region

ITA = "ita"  # in place of a column's name: the individual typology angle is measured
NO_COLOUR = 2.0  # chroma in CIELAB below which a photograph is black and white
# Of 68 landmarks: brows, eyes, nostrils and mouth, which are no skin
_FEATURES = (slice(17, 22), slice(22, 27), slice(36, 42), slice(42, 48), slice(31, 36), slice(48, 60))

Row = dict[str, str | float]


def read_groups(table: Path, column: str) -> dict[str, str]:
    """file -> value of `column` of an index or a table of labels. Raises DataError if it has no such column."""
    return {row["file"]: row[column].strip() for row in read_table(table, ("file", column))}


def individual_typology_angle(picture: np.ndarray, landmarks: np.ndarray) -> float:
    """ITA in degrees of a face's skin, arctan((L* - 50) / b*) of CIELAB's medians (Chardon et al. 1991): high is light.

    picture uint8 RGB [S, S, 3], landmarks [68, 2] in its pixels. NaN where there is no colour. In a photograph it is
    the light and the camera as well as the skin: a proxy for comparing groups, not for telling of anybody.
    """
    skin = face_region(landmarks, len(picture))
    for feature in _FEATURES:
        hull = cv2.convexHull(landmarks[feature].round().astype(np.int32))
        cv2.fillConvexPoly(skin, hull, 0)
        cv2.polylines(skin, [hull], True, 0, thickness=max(len(picture) // 32, 1))
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[skin > 0]  # [N, 3]
    if not len(lab) or np.median(np.hypot(lab[:, 1], lab[:, 2])) < NO_COLOUR:
        return float("nan")
    lightness, _, b = np.median(lab, axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def by_ita(rows: list[Row]) -> list[Row]:
    """The rows with their group set to a third of the people, by the median ITA of each one's photographs.

    One person's photographs are thus in one group, and light and camera average out where there are many.
    """
    angles: dict[str, dict[str, float]] = {}  # person -> photograph -> ITA
    for row in rows:
        if not np.isnan(ita := float(row["ita"])):
            angles.setdefault(str(row["identity"]), {})[str(row["image"])] = ita
    tones = {person: float(np.median(list(of_photographs.values()))) for person, of_photographs in angles.items()}
    low, high = np.quantile(list(tones.values()) or [0.0], [1 / 3, 2 / 3])
    titles = (
        f"1 of 3, darkest: ITA below {low:.0f}°",
        f"2 of 3: ITA {low:.0f}° to {high:.0f}°",
        f"3 of 3, lightest: ITA above {high:.0f}°",
    )
    groups = {person: titles[int(tone > low) + int(tone > high)] for person, tone in tones.items()}
    return [row | {"group": groups.get(str(row["identity"]), "without colour")} for row in rows]
