"""A restored face is put back without a trace: nothing softened, its grain, its tone and what covers it kept."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from faceref.faces import blend
from faceref.faces.align import AlignedFace, align
from faceref.faces.blend import Blend, blend_aligned
from faceref.faces.detect import Face


def put_back(photo: Image.Image, *face, **settings) -> Image.Image:
    picture = photo.copy()
    Blend.of(photo, *face, **settings).onto(picture)
    return picture


def blended(photo: Image.Image, restored: Image.Image, crop: AlignedFace, face: Face, **settings) -> np.ndarray:
    settings = {"strength": 1.0, "colour": "keep", "rng": np.random.default_rng(0)} | settings
    return np.asarray(put_back(photo, restored, crop, face.landmarks, **settings), dtype=float)


def skin(face: Face, size: tuple[int, int]) -> np.ndarray:
    """bool [h, w]: the middle of the face."""
    hull = cv2.convexHull(face.landmarks[17:].round().astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(size[::-1], np.uint8), hull, 1) > 0


def noisy(photo: Image.Image, sigma: float, coarse: float = 0) -> Image.Image:
    grain = np.random.default_rng(1).normal(0, 1, (photo.height, photo.width, 1)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), coarse)[..., None] if coarse else grain
    pixels = np.asarray(photo, dtype=float) * 0.7 + 38 + grain * sigma / grain.std()
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


@pytest.fixture
def large(astronaut: Image.Image) -> Image.Image:
    return ImageOps.scale(astronaut, 2, Image.Resampling.LANCZOS)


@pytest.fixture
def large_face(astronaut_face: Face) -> Face:
    return replace(astronaut_face, landmarks=2 * astronaut_face.landmarks)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_face_that_nothing_changed_comes_back_to_the_byte(size: int, astronaut: Image.Image, astronaut_face: Face):
    crop = align(astronaut, astronaut_face.landmarks, size)
    np.testing.assert_array_equal(blended(astronaut, crop.image, crop, astronaut_face), np.asarray(astronaut))


def test_what_is_off_the_face_keeps_its_bytes(astronaut: Image.Image, astronaut_face: Face):
    crop = align(astronaut, astronaut_face.landmarks, 128)
    lighter = crop.image.point([min(value + 20, 255) for value in range(256)] * 3)
    changed = (blended(astronaut, lighter, crop, astronaut_face) != np.asarray(astronaut)).any(-1)
    assert changed[skin(astronaut_face, astronaut.size)].mean() > 0.95
    y, x = np.nonzero(changed)
    left, top = astronaut_face.landmarks[:17].min(0) - 12
    right, bottom = astronaut_face.landmarks[:17].max(0) + 12
    assert left < x.min() and x.max() < right and y.max() < bottom  # noqa: PT018
    assert y.min() > top - (bottom - top)  # the forehead reaches above the jaw's points, but not to the photo's edge


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_says_how_far_a_face_is_restored(strength: float, astronaut: Image.Image, astronaut_face: Face):
    crop = align(astronaut, astronaut_face.landmarks, 128)
    lighter = crop.image.point([min(value + 20, 255) for value in range(256)] * 3)
    change = blended(astronaut, lighter, crop, astronaut_face, strength=strength) - np.asarray(astronaut)
    assert np.median(change[skin(astronaut_face, astronaut.size)]) == pytest.approx(20 * strength, abs=1)


def test_restoring_never_softens(astronaut: Image.Image, astronaut_face: Face):
    soft = align(astronaut, astronaut_face.landmarks, 64)  # less than half of the pixels that the photo has
    result = blended(astronaut, soft.image.filter(ImageFilter.GaussianBlur(0.3)), soft, astronaut_face)
    where = skin(astronaut_face, astronaut.size)
    before, after = (cv2.Laplacian(np.asarray(p, float).mean(-1), cv2.CV_64F)[where].std() for p in (astronaut, result))
    assert after > 0.9 * before


@pytest.mark.parametrize(("sigma", "coarse", "least"), [(4, 0, 0.9), (6, 0, 0.9), (6, 1.0, 0.6)])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_grain_taken_off_with_the_degradation_is_given_back(
    sigma: float, coarse: float, least: float, strength: float, large: Image.Image, large_face: Face
):
    clean, photo = (noisy(large, level, coarse) for level in (0, sigma))
    crop = align(photo, large_face.landmarks, 128)
    restored = align(clean, large_face.landmarks, 128).image
    result = blended(photo, restored, crop, large_face, strength=strength)
    where = skin(large_face, large.size)
    assert least < (result - np.asarray(clean, float))[where].std() / sigma < 1.1


@pytest.mark.parametrize(("sigma", "coarse", "left"), [(12, 0, (5, 8)), (25, 0, (5, 8.5)), (12, 4, (0, 3))])
@pytest.mark.parametrize("size", [128, 256])
def test_noise_that_a_face_was_restored_from_is_not_given_back(
    sigma: float, coarse: float, left: tuple[float, float], size: int, large: Image.Image, large_face: Face
):
    """Neither more of it than a good photograph has, nor what is as coarse as a face's features."""
    clean, photo = (noisy(large, level, coarse) for level in (0, sigma))
    crop = align(photo, large_face.landmarks, size)
    restored = align(clean, large_face.landmarks, size).image
    where = skin(large_face, large.size)
    noise = (blended(photo, restored, crop, large_face) - np.asarray(clean, float))[where]
    assert left[0] < noise.std() < left[1]


def test_a_clean_photograph_gets_no_grain(astronaut: Image.Image, astronaut_face: Face):
    soft = astronaut.filter(ImageFilter.GaussianBlur(3))
    crop = align(soft, astronaut_face.landmarks, 128)
    sharp = align(astronaut, astronaut_face.landmarks, 128).image
    results = [blended(soft, sharp, crop, astronaut_face, rng=np.random.default_rng(seed)) for seed in (0, 1)]
    assert np.abs(results[0] - results[1]).max() <= 2
    assert np.abs(results[0] - np.asarray(soft)).max() > 20


def test_the_same_seed_draws_the_same_grain(astronaut: Image.Image, astronaut_face: Face):
    photo = noisy(astronaut, 10)
    crop = align(photo, astronaut_face.landmarks, 128)
    run = partial(blended, photo, crop.image.filter(ImageFilter.GaussianBlur(1)), crop, astronaut_face)
    first, again, other = (run(rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def sepia(photo: Image.Image) -> Image.Image:
    luminance = np.asarray(photo.convert("L"), dtype=float)[..., None] / 255
    return Image.fromarray((luminance ** (0.8, 1.0, 1.4) * (235, 215, 175)).round().astype(np.uint8))


@pytest.mark.parametrize("printed", [lambda photo: photo.convert("L").convert("RGB"), sepia], ids=["grey", "sepia"])
def test_a_print_keeps_its_tone_unless_colours_are_allowed(printed, astronaut: Image.Image, astronaut_face: Face):
    photo = printed(astronaut)
    stamped = photo.copy()
    stamped.paste((255, 90, 0), (420, 480, 500, 500))  # a date in the corner is no colour of the face
    crop = align(stamped, astronaut_face.landmarks, 128)
    coloured = align(astronaut, astronaut_face.landmarks, 128).image
    where = skin(astronaut_face, astronaut.size)
    kept, allowed = (blended(stamped, coloured, crop, astronaut_face, colour=c)[where] for c in ("keep", "allow"))
    luminance = kept @ (0.299, 0.587, 0.114)
    tone = np.asarray(photo, dtype=float).reshape(-1, 3)
    order = np.argsort(tone @ (0.299, 0.587, 0.114))
    expected = tone[order][np.searchsorted(tone[order] @ (0.299, 0.587, 0.114), luminance).clip(0, len(tone) - 1)]
    printable = luminance < 190  # paper is not whiter than that in sepia
    assert np.quantile(np.abs(kept - expected)[printable], 0.95) < 4
    assert np.quantile(np.abs(allowed - expected)[printable], 0.95) > 10
    if printed is not sepia:
        assert np.ptp(kept, axis=-1).max() == 0


def test_colours_of_a_coloured_face_are_restored(astronaut: Image.Image, astronaut_face: Face):
    pale = Image.blend(astronaut.convert("L").convert("RGB"), astronaut, 0.6)
    crop = align(pale, astronaut_face.landmarks, 128)
    restored = align(astronaut, astronaut_face.landmarks, 128).image
    where = skin(astronaut_face, astronaut.size)
    after, truth = blended(pale, restored, crop, astronaut_face)[where], np.asarray(astronaut, dtype=float)[where]
    assert np.abs(after - truth).mean() < 0.3 * np.abs(np.asarray(pale, dtype=float)[where] - truth).mean()


def test_an_aligned_face_is_blended_as_a_whole(astronaut: Image.Image, astronaut_face: Face):
    face = align(astronaut, astronaut_face.landmarks, 128)
    lighter = face.image.point([value // 2 + 40 for value in range(256)] * 3)
    before, after = (np.asarray(picture, dtype=float) for picture in (face.image, lighter))
    for strength in (0, 0.25, 1):
        result = blend_aligned(lighter, face, strength=strength, colour="keep")
        np.testing.assert_allclose(np.asarray(result), before + strength * (after - before), atol=0.51)


def test_what_covers_the_face_stays(astronaut: Image.Image, astronaut_face: Face):
    left, top = astronaut_face.landmarks[48:].min(0).astype(int) - 8
    right, bottom = astronaut_face.landmarks[48:].max(0).astype(int) + 8
    photo = astronaut.copy()
    photo.paste((10, 10, 10), (left, top, right, bottom))  # a microphone before the mouth
    crop = align(photo, astronaut_face.landmarks, 128)
    result = blended(photo, align(astronaut, astronaut_face.landmarks, 128).image, crop, astronaut_face)
    middle = result[top + 10 : bottom - 10, left + 10 : right - 10]
    assert np.abs(middle - 10).max() < 12


def test_the_seam_cannot_be_seen(astronaut: Image.Image, astronaut_face: Face):
    grey = Image.new("RGB", astronaut.size, (100, 100, 100))
    crop = align(grey, astronaut_face.landmarks, 128)
    result = blended(grey, Image.new("RGB", (128, 128), (125, 125, 125)), crop, astronaut_face)[..., 0]
    assert result.max() == 125
    assert max(np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1)) <= 4  # of a step of 25


def test_a_face_at_the_edge_is_blended_as_far_as_the_photo_reaches(astronaut: Image.Image, astronaut_face: Face):
    photo = astronaut.crop((215, 0, 512, 512))
    landmarks = astronaut_face.landmarks - (215, 0)
    crop = align(photo, landmarks, 128)
    lighter = crop.image.point([min(value + 20, 255) for value in range(256)] * 3)
    result = put_back(photo, lighter, crop, landmarks, strength=1, colour="keep", rng=np.random.default_rng(0))
    assert result.size == photo.size
    change = np.asarray(result, dtype=float)[125, 0] - np.asarray(photo, dtype=float)[125, 0]
    assert change.mean() > 10


def test_a_face_outside_of_the_photo_changes_nothing(astronaut: Image.Image, astronaut_face: Face):
    crop = align(astronaut, astronaut_face.landmarks, 128)
    photo = astronaut.crop((400, 300, 512, 512))
    outside = AlignedFace(crop.image, crop.mask, type(crop.alignment)(crop.alignment.quad + 2000, 128))
    result = put_back(photo, crop.image, outside, astronaut_face.landmarks, strength=1, colour="keep",
                        rng=np.random.default_rng(0))  # fmt: skip
    np.testing.assert_array_equal(np.asarray(result), np.asarray(photo))


def test_a_face_larger_than_pillow_cuts_out_is_blended(large: Image.Image, large_face: Face, monkeypatch):
    crop = align(large, large_face.landmarks, 128)
    monkeypatch.setattr(blend, "ROWS", 8)
    expected = blended(large, crop.image, crop, large_face)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    np.testing.assert_array_equal(blended(large, crop.image, crop, large_face), expected)


def test_a_large_face_is_blended_in_parts_without_a_seam(astronaut: Image.Image, astronaut_face: Face, monkeypatch):
    crop = align(astronaut, astronaut_face.landmarks, 128)
    softer = crop.image.filter(ImageFilter.GaussianBlur(2)).point([min(value + 20, 255) for value in range(256)] * 3)
    whole = blended(astronaut, softer, crop, astronaut_face)
    monkeypatch.setattr(blend, "ROWS", 50)
    assert np.abs(blended(astronaut, softer, crop, astronaut_face) - whole).max() <= 2
