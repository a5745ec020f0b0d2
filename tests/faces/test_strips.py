"""In panoramas detectors that bring each picture to one size see pieces; each face is found once, where it is."""

import numpy as np
import pytest
from PIL import Image

from faceref.faces.detect import DlibDetector
from faceref.faces.strips import MOST_LONG, Found, found_in_pieces

SIDE = 30  # pixels of a white square, which stands for a face


def white(image: Image.Image) -> list[Found]:
    """The white parts of columns or rows that are black between them; a whole square is more probable than a part."""
    pixels = np.asarray(image.convert("L")) > 0
    along = int(pixels.shape[1] < pixels.shape[0])
    lit = np.flatnonzero(pixels.any(axis=along))
    found = []
    for run in np.split(lit, np.flatnonzero(np.diff(lit) > 1) + 1) if len(lit) else ():
        across = np.flatnonzero(pixels.any(axis=1 - along))
        corners = np.array([(run[0], across[0]), (run[-1] + 1, across[-1] + 1)])
        found.append((corners[:, ::-1] if along else corners, float(len(run))))
    return found


@pytest.mark.parametrize("turned", [False, True])
def test_each_face_of_a_panorama_is_found_once_and_whole_in_pieces_of_a_phones_shape(turned: bool):
    starts = [0, 260, 385, 540, 665, 815, 1215, 1470]  # most of them where a piece ends
    panorama = Image.new("RGB", (1500, 100))
    for start in starts:
        panorama.paste((255, 255, 255), (start, 40, start + SIDE, 40 + SIDE))
    if turned:
        panorama = panorama.transpose(Image.Transpose.TRANSPOSE)
    shapes = []

    def look(piece: Image.Image) -> list[Found]:
        shapes.append(piece.size)
        return white(piece)

    found = sorted(corners.tolist() for corners, _ in found_in_pieces(panorama, look))
    expected = [[[start, 40], [start + SIDE, 40 + SIDE]] for start in starts]
    assert found == ([[corner[::-1] for corner in one] for one in expected] if turned else expected)
    assert {max(shape) / min(shape) for shape in shapes} == {MOST_LONG}


def test_any_other_picture_is_looked_at_whole():
    picture = Image.new("RGB", (400, 100))
    seen = []
    assert found_in_pieces(picture, lambda piece: seen.append(piece) or []) == []
    assert seen == [picture]


def test_dlib_finds_a_face_in_a_panorama_of_which_it_is_a_hundredth(detector: DlibDetector, astronaut: Image.Image):
    panorama = Image.new("RGB", (6000, 400), "gray")
    panorama.paste(astronaut.crop((110, 0, 340, 230)).resize((150, 150)), (2990, 100))
    (face,) = detector.detect(panorama)
    left, top, right, bottom = face.box
    assert 3010 < left < right < 3120
    assert 110 < top < bottom < 240
