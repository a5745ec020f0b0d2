"""A face's quality is judged from its own pixels: the worse the picture, the lower the score."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from faceref.data.degradation import Degradation, degrade
from faceref.errors import PhotoError
from faceref.faces.align import AlignedFace, align
from faceref.faces.detect import Face
from faceref.faces.noise import blockiness, wavelet_noise
from faceref.faces.quality import JUDGED_AT, quality, size_in_photo, strength

EVERYWHERE = np.ones((128, 128), dtype=bool)


@pytest.fixture
def good_face(astronaut: Image.Image, astronaut_face: Face) -> AlignedFace:
    return align(astronaut, astronaut_face.landmarks, 128)


def degraded(face: AlignedFace, sigma: float = 0, downsample: float = 1, noise: float = 0, quality: int = 95):
    degradation = Degradation(sigma, sigma, 0, downsample, noise, quality, kernel_size=21)
    return AlignedFace(degrade(face.image, degradation, np.random.default_rng(0)), face.mask, face.alignment)


def test_a_good_face_is_told_from_a_bad_one(good_face: AlignedFace):
    faces = [good_face, degraded(good_face, sigma=1, downsample=1.5), degraded(good_face, sigma=3, downsample=6)]
    scores = [quality(face).score for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.7
    assert scores[-1] < 0.35


@pytest.mark.parametrize("damage", [{"noise": 15}, {"quality": 20}, {"sigma": 2.5}, {"downsample": 5}])
def test_every_kind_of_damage_lowers_the_score(damage: dict[str, int], good_face: AlignedFace):
    assert quality(degraded(good_face, **damage)).score < quality(good_face).score - 0.15


def test_the_estimate_is_near_the_true_psnr(good_face: AlignedFace):
    truth = np.asarray(good_face.image, dtype=float)[40:110, 30:98]
    for damage in ({"sigma": 1}, {"sigma": 2, "downsample": 3, "noise": 5}, {"sigma": 3, "downsample": 6}):
        bad = degraded(good_face, **damage)
        error = np.mean((np.asarray(bad.image, dtype=float)[40:110, 30:98] - truth) ** 2)
        assert quality(bad).psnr == pytest.approx(10 * np.log10(255**2 / error), abs=5)


def test_a_face_is_judged_at_the_size_that_is_asked_for(astronaut: Image.Image, astronaut_face: Face):
    small = astronaut.resize((256, 256), Image.Resampling.LANCZOS)  # the face: 86 px
    large = align(small, astronaut_face.landmarks / 2, 512)
    assert quality(large, 128).score > quality(large, 256).score + 0.1
    assert quality(large, 512) == quality(large)


@pytest.mark.parametrize(("share", "size"), [(4, 256), (1, 172), (0.5, 86), (0.2, 64)])
def test_what_a_face_lacks_is_judged_at_its_size_in_the_photograph(
    share: float, size: int, astronaut: Image.Image, astronaut_face: Face
):
    photo = ImageOps.scale(astronaut, share, Image.Resampling.LANCZOS)
    assert size_in_photo(align(photo, share * astronaut_face.landmarks, 512)) == pytest.approx(size, abs=4)


def test_a_small_face_that_is_going_to_be_large_is_judged_as_that(astronaut: Image.Image, astronaut_face: Face):
    photo = ImageOps.scale(astronaut, 0.5, Image.Resampling.LANCZOS)
    face = align(photo, 0.5 * astronaut_face.landmarks, 512)
    sizes = [size_in_photo(face, enlargement) for enlargement in (1, 2, 4)]
    assert sizes == [pytest.approx(86, abs=2), pytest.approx(172, abs=4), 256]
    assert strength(quality(face, size_in_photo(face))) < 0.2
    assert strength(quality(face, size_in_photo(face, 4))) > 0.4


@pytest.mark.parametrize("share", [0.4, 0.5, 0.7])
def test_a_small_face_lacks_nothing_that_its_pixels_could_show_unless_they_are_bad(
    share: float, astronaut: Image.Image, astronaut_face: Face
):
    photo = ImageOps.scale(astronaut, share, Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(0, 25, (*photo.size[::-1], 3))
    noisy = Image.fromarray((np.asarray(photo) + noise).clip(0, 255).astype(np.uint8))
    blurred = photo.filter(ImageFilter.GaussianBlur(2))
    good, *bad = [
        strength(quality(face, size_in_photo(face)))
        for face in (align(picture, share * astronaut_face.landmarks, 512) for picture in (photo, noisy, blurred))
    ]
    assert good == 0
    assert min(bad) > 0.8


def test_a_large_face_that_is_good_only_when_it_is_small_is_restored(astronaut: Image.Image, astronaut_face: Face):
    large = ImageOps.scale(astronaut, 4, Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(4))
    face = align(large, 4 * astronaut_face.landmarks, 512)
    assert strength(quality(face, JUDGED_AT)) < 0.2
    assert strength(quality(face, size_in_photo(face))) > 0.8


def test_the_more_noise_the_more_a_face_is_restored(astronaut: Image.Image, astronaut_face: Face):
    large = ImageOps.scale(astronaut, 3, Image.Resampling.LANCZOS)
    needed = []
    for deviation in (0, 10, 20, 40, 60, 100):
        noise = np.random.default_rng(0).normal(0, deviation, (*large.size[::-1], 3))
        noisy = Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8))
        face = align(noisy, 3 * astronaut_face.landmarks, 512)
        needed.append(strength(quality(face, size_in_photo(face))))
    assert needed == sorted(needed)
    assert needed[0] == 0
    assert needed[3] > 0.4
    assert needed[-1] == 1


@pytest.mark.parametrize("grey", [False, True])
def test_noise_that_was_enlarged_with_the_face_is_seen(grey: bool, astronaut: Image.Image, astronaut_face: Face):
    """Drawn on a third of the pixels, compressed, and enlarged, it is smooth: no fine detail tells of it."""
    picture = np.asarray(astronaut.convert("L").convert("RGB") if grey else astronaut, dtype=float)
    noise = np.random.default_rng(0).normal(0, 25, picture.shape)
    noisy = Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    noisy.save(file, "JPEG", quality=60)
    large = ImageOps.scale(Image.open(file), 3, Image.Resampling.BICUBIC)
    face = align(large, 3 * astronaut_face.landmarks, 512)
    assert strength(quality(face, size_in_photo(face))) > 0.9


def test_what_little_of_a_face_is_in_the_photograph_is_judged(good_face: AlignedFace):
    mask = np.zeros_like(good_face.mask)
    mask[:, 64:66] = 255
    assert np.isfinite(quality(AlignedFace(good_face.image, mask, good_face.alignment)).psnr)


def test_padding_is_not_judged(good_face: AlignedFace):
    mask = good_face.mask.copy()
    mask[:, :64] = 0
    noisy = np.asarray(good_face.image).copy()
    noisy[:, :62] = np.random.default_rng(0).integers(0, 256, noisy[:, :62].shape)
    padded = AlignedFace(Image.fromarray(noisy), mask, good_face.alignment)
    clean = AlignedFace(good_face.image, mask, good_face.alignment)
    assert quality(padded).psnr == pytest.approx(quality(clean).psnr, abs=1)
    with pytest.raises(PhotoError, match="outside of the photograph"):
        quality(AlignedFace(good_face.image, np.zeros_like(mask), good_face.alignment))


@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_noise_is_measured_in_grey_levels(sigma: float):
    ramp = np.linspace(50, 200, 128)[None].repeat(128, 0)
    noisy = (ramp + np.random.default_rng(0).normal(0, sigma, ramp.shape)).astype(np.float32)
    assert wavelet_noise(noisy, EVERYWHERE) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("period", [8, 11])
def test_a_grid_is_seen_whatever_its_period(period: int):
    rng = np.random.default_rng(0)
    plain = rng.normal(100, 3, (128, 128)).astype(np.float32)
    steps = rng.normal(0, 12, (128 // period + 1, 128 // period + 1))
    blocks = np.kron(steps, np.ones((period, period)))[:128, :128].astype(np.float32)
    assert blockiness(plain + blocks, EVERYWHERE) > 1.5 * blockiness(plain, EVERYWHERE)
