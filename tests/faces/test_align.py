"""Alignment follows FFHQ's script, is undone exactly, and does not care how the photo was turned or scaled."""

import io
import zipfile

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from faceref.faces.align import Alignment, align, ffhq_quad
from faceref.faces.detect import Face

# The worked example: eyes at (100, 100) and (140, 100), mouth corners at (105, 150) and (135, 150), all by hand.
# eye_to_eye (40, 0), eye_to_mouth (0, 50): x = (40, 0) + (50, 0) -> direction (1, 0), length max(80, 90) = 90;
# centre (120, 100) + 0.1 * (0, 50) = (120, 105).
HAND_QUAD = [(30, 15), (30, 195), (210, 195), (210, 15)]


def hand_landmarks() -> np.ndarray:
    landmarks = np.zeros((68, 2), dtype=np.float32)
    landmarks[36:42], landmarks[42:48] = (100, 100), (140, 100)
    landmarks[48], landmarks[54] = (105, 150), (135, 150)
    return landmarks


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


angles, scales = st.floats(-3.1, 3.1), st.floats(0.05, 20)
shifts = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


def test_the_square_is_the_one_worked_out_by_hand():
    np.testing.assert_allclose(ffhq_quad(hand_landmarks()), HAND_QUAD, atol=1e-9)


@given(angles, scales, shifts)
def test_the_square_moves_with_the_face(angle: float, scale: float, shift: tuple[float, float]):
    matrix = similarity(angle, scale, shift)
    quad = ffhq_quad(moved(hand_landmarks().astype(np.float64), matrix))
    np.testing.assert_allclose(quad, moved(np.array(HAND_QUAD, dtype=np.float64), matrix), atol=1e-6 * scale)


@given(angles, scales, shifts, st.sampled_from([64, 128, 512]))
def test_forward_and_back_is_the_identity(angle: float, scale: float, shift: tuple[float, float], size: int):
    alignment = Alignment(moved(np.array(HAND_QUAD, dtype=np.float64), similarity(angle, scale, shift)), size)
    points = np.array([(0, 0), (size - 1, 3.25), (-10, 2 * size)])
    np.testing.assert_allclose(alignment.to_crop(alignment.to_photo(points)), points, atol=1e-6 * size)
    # corners of the crop, half a pixel outside of the outermost pixels' centres, are the square's corners
    corners = np.array([(0, 0), (0, size), (size, size), (size, 0)]) - 0.5
    np.testing.assert_allclose(alignment.to_photo(corners), alignment.quad, atol=1e-6 * size * scale)


@settings(deadline=None, max_examples=15)
@given(st.floats(-0.6, 0.6), st.floats(0.5, 2.5))
def test_a_turned_and_scaled_photo_gives_the_same_face(angle: float, scale: float):
    # a smooth picture, known everywhere, so that the turned photo is exact and not itself resampled
    def picture(points: np.ndarray) -> np.ndarray:  # [..., 2] -> [..., 3]
        x, y = points[..., 0], points[..., 1]
        return np.stack([np.sin(x / 14), np.cos(y / 11), np.sin((x + y) / 17)], axis=-1) * 100 + 128

    def photo(matrix: np.ndarray, size: int) -> Image.Image:
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
        grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float64)
        return Image.fromarray(picture(moved(grid, inverse)).round().astype(np.uint8))

    straight = similarity(0, 1, (100, 100))
    turned = similarity(angle, scale, (400, 200)) if scale > 1 else similarity(angle, scale, (200, 150))
    faces = [
        align(photo(matrix, size), moved(hand_landmarks().astype(np.float64), matrix), 64)
        for matrix, size in ((straight, 420), (turned, 1000))
    ]
    both = (faces[0].mask > 0) & (faces[1].mask > 0)
    assert both.mean() > 0.6
    difference = np.abs(np.asarray(faces[0].image, dtype=float) - np.asarray(faces[1].image, dtype=float))[both]
    assert np.quantile(difference, 0.95) < 6


def test_the_crop_shows_eyes_and_mouth_where_ffhq_has_them(astronaut: Image.Image, astronaut_face: Face):
    aligned = align(astronaut, astronaut_face.landmarks, 256)
    assert aligned.image.size == (256, 256)
    points = aligned.alignment.to_crop(astronaut_face.landmarks)
    eyes, mouth = (points[36:42].mean(0) + points[42:48].mean(0)) / 2, (points[48] + points[54]) / 2
    np.testing.assert_allclose(eyes, (128, 121), atol=8)  # FFHQ: eyes a little above the middle
    assert 165 < mouth[1] < 200
    assert abs(mouth[0] - 128) < 8


@pytest.mark.parametrize(("size", "most"), [(64, 5), (128, 5), (256, 5), (512, 8)])  # the last enlarges by two
def test_the_crop_is_the_one_of_ffhqs_script(size: int, most: int, astronaut: Image.Image, astronaut_face: Face):
    quad = ffhq_quad(astronaut_face.landmarks)
    # the last lines of FFHQ's script, whose other lines do nothing here: the face is small and far from the edges
    corners = tuple((quad + 0.5).flatten())
    large = astronaut.transform((2048, 2048), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    expected = np.asarray(large.resize((size, size), Image.Resampling.LANCZOS), dtype=float)
    ours = np.asarray(align(astronaut, astronaut_face.landmarks, size).image, dtype=float)
    assert np.abs(ours - expected).mean() < 0.7
    assert np.abs(ours - expected).max() <= most


def test_shrinking_does_not_alias():
    checks = np.indices((1200, 1200)).sum(0) % 2 * 255
    photo = Image.fromarray(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8))
    aligned = align(photo, hand_landmarks() * 5, 64)  # 900 px -> 64 px
    assert np.abs(np.asarray(aligned.image, dtype=float) - 127.5).max() < 3


@pytest.mark.parametrize("size", [64, 512])
def test_what_lies_outside_of_the_photo_is_masked_and_filled_softly(
    size: int, astronaut: Image.Image, astronaut_face: Face
):
    cut = 200  # through the left eye
    photo = astronaut.crop((cut, 0, 512, 512))
    aligned = align(photo, astronaut_face.landmarks - (cut, 0), size)
    x = aligned.alignment.to_photo(np.stack([np.arange(size), np.full(size, size / 2)], axis=1))[:, 0]
    np.testing.assert_array_equal(aligned.mask[size // 2], (x >= -0.5) * 255)
    whole = align(astronaut, astronaut_face.landmarks, size)
    assert whole.mask.min() == 255
    far_inside = x > 0.15 * aligned.alignment.side  # FFHQ's blur does not reach further into the photo
    difference = np.abs(np.asarray(whole.image, dtype=float) - np.asarray(aligned.image, dtype=float))
    assert difference[size // 2, far_inside].max() < 3
    outside = aligned.mask[:, 1:] == 0
    steps = [np.abs(np.diff(np.asarray(face.image, dtype=float)[..., 1], axis=1))[outside] for face in (aligned, whole)]
    assert np.quantile(steps[0], 0.99) < 0.5 * np.quantile(steps[1], 0.99)


def test_faces_of_the_shared_set_were_cut_by_the_same_rule(detector, shared):
    with (
        zipfile.ZipFile(shared / "data" / "raw-people.zip") as photos,
        zipfile.ZipFile(shared / "data" / "lfw128.zip") as crops,
    ):
        (photo_name,) = (name for name in photos.namelist() if name.endswith("Amanda_Bynes/Amanda_Bynes_0002.jpg"))
        photo = Image.open(io.BytesIO(photos.read(photo_name))).convert("RGB")
        ours = np.asarray(align(photo, detector.detect(photo)[0].landmarks, 128).image, dtype=float)
        names = [name for name in crops.namelist() if "lfw_Amanda_Bynes/" in name and name.endswith(".webp")]
        theirs = [np.asarray(Image.open(io.BytesIO(crops.read(name))).convert("RGB"), dtype=float) for name in names]
    differences = sorted(np.abs(ours - other).mean() for other in theirs)
    assert differences[0] < 5 < 20 < differences[1]  # the same photo, WebP-coded; another photo of her
