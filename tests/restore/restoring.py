"""How the tests of this folder restore and compare."""

import numpy as np
from PIL import Image

from faceref import RestoreOptions, Restorer, Result
from faceref.restore.faces import RestoredFace


def restore(restorer: Restorer, photo, people=(), **settings) -> Result:
    """Restored fully: the portrait of these tests is a good one."""
    return restorer.restore(photo, people, RestoreOptions.of(**({"always": True} | settings)))


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of all pixels that differ."""
    rows, columns = np.nonzero((np.asarray(before) != np.asarray(after)).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def box_of(face: RestoredFace) -> tuple[float, float, float, float]:
    """Where a restored face lies in its photograph."""
    assert face.face.place is not None
    return face.face.place.box
