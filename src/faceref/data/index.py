"""index.csv, the table beside aligned faces: one row a face, which every step of building a data set fills further.

`align` writes file, source and the measurements, `identities` the person, `splits` the split; training and evaluation
read it as it is. Columns that nobody here knows are kept.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceref.data.table import Row, leads_out, read_table, write_table
from faceref.errors import DataError
from faceref.faces.align import AlignedFace
from faceref.faces.detect import Face
from faceref.faces.landmarks import yaw
from faceref.faces.sharpness import face_region, sharpness

INDEX = "index.csv"
COLUMNS = (
    "file",  # relative to the folder of the index
    "person",  # empty while nobody knows
    "split",
    "ffhq_side_px",  # side of the aligned square in pixels of the photograph: below the face's size, it was enlarged
    "eyes_px",  # distance between the eyes in pixels of the photograph
    "outside",  # share of the square that lies outside of the photograph
    "sharpness",  # variance of the Laplacian in the face at 128 px
    "yaw",  # 0 frontal, towards 1 a profile
    "colourfulness",  # Hasler and Suesstrunk 2003; 0 is grey
    "source",  # the photograph, relative to the folder that was aligned
)


def read_index(folder: Path) -> list[Row]:
    """The rows of FOLDER/index.csv. Raises DataError if it is missing or empty, or lists a file twice or elsewhere."""
    path = folder / INDEX
    if not path.exists():
        raise DataError(
            f"has no {INDEX}",
            subject=folder,
            hint="make one by aligning photographs, or with the columns file and person",
            code="no_index",
        )
    rows = [{key: value for key, value in row.items() if key} for row in read_table(path, ("file",))]
    if not rows:
        raise DataError("lists no photograph", subject=path, hint="align some first", code="empty_index")
    seen: set[str] = set()
    for row in rows:
        if leads_out(row["file"]):
            hint = "give names relative to that folder"
            raise DataError(f"lists {row['file']}, which does not lie below {folder}", subject=path, hint=hint)
        if row["file"] in seen:
            raise DataError(f"lists {row['file']} twice", subject=path, hint="take one of the lines out")
        seen.add(row["file"])
    return rows


def write_index(folder: Path, rows: Sequence[Row]) -> None:
    """Write FOLDER/index.csv, whole or not at all: our columns first, then those that somebody else has added."""
    known = [column for column in COLUMNS if any(column in row for row in rows)]
    others = list(dict.fromkeys(column for row in rows for column in row if column not in COLUMNS))
    write_table(folder / INDEX, (*known, *others), rows)


def measure_face(aligned: AlignedFace, face: Face) -> Row:
    """What the index says of a face; see the comments at its columns."""
    points = face.landmarks
    left_eye, right_eye = points[36:42].mean(0), points[42:48].mean(0)
    pixels, inside = np.asarray(aligned.image), aligned.mask > 0
    red, green, blue = np.moveaxis(pixels[inside].astype(float), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    region = face_region(aligned.alignment.to_crop(points), len(pixels))
    return {
        "ffhq_side_px": str(round(aligned.alignment.side)),
        "eyes_px": f"{np.linalg.norm(right_eye - left_eye):.1f}",
        "outside": f"{1 - inside.mean():.3f}",
        "sharpness": f"{sharpness(pixels, region):.0f}",
        "yaw": f"{abs(yaw(points)):.2f}",
        "colourfulness": f"{np.linalg.norm(opponents.std(1)) + 0.3 * np.linalg.norm(opponents.mean(1)):.1f}",
    }
