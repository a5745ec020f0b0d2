"""What is around a restored face becomes as much sharper as the face did, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from faceref.faces.align import Alignment, align
from faceref.faces.blend import warp
from faceref.faces.detect import Face
from faceref.faces.mask import MASK_SIZE, face_weights
from faceref.faces.surroundings import MOST, REACH, SIZE, Outline, Sharpened, detail_gains, raised, sharpen_around


def blurred(photo: Image.Image, radius: float) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(radius))


def restored(seen: Image.Image, truth: Image.Image, landmarks: np.ndarray, strength: float = 1.0) -> Sharpened:
    """A face of which the model drew the truth."""
    crop, drawn = (align(photo, landmarks, SIZE) for photo in (seen, truth))
    return Sharpened.of(Outline(landmarks), crop, drawn.image, strength)


def regions(photo: Image.Image, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool [h, w]: what is surely the face, and what is near it and none of it."""
    alignment = Outline(landmarks).alignment
    square = Alignment(alignment.quad, MASK_SIZE)
    weights = warp(face_weights(landmarks, alignment), square, (0, 0, *photo.size))
    points = np.stack(np.meshgrid(*map(np.arange, photo.size)), axis=-1).reshape(-1, 2)
    away = np.hypot(*(alignment.to_crop(points) / SIZE - 0.5).T).reshape(photo.size[::-1])
    return weights[..., 1] == 1, (weights[..., 0] < 0.01) & (away < REACH[0])


def error(one: Image.Image, other: Image.Image, where: np.ndarray) -> float:
    return float(((np.asarray(one, dtype=float) - np.asarray(other))[where] ** 2).mean())


@pytest.mark.parametrize("enlarged", [1, 3])
def test_what_is_around_a_blurred_face_comes_nearer_to_the_truth(
    enlarged: int, astronaut: Image.Image, astronaut_face: Face
):
    truth, landmarks = ImageOps.scale(astronaut, enlarged), enlarged * astronaut_face.landmarks
    seen = blurred(truth, 1.5 * enlarged)
    face, around = regions(truth, landmarks)
    sharper = sharpen_around(seen, [restored(seen, truth, landmarks)], [])
    assert error(sharper, truth, around) < 0.8 * error(seen, truth, around)
    assert error(sharper, seen, face) == 0


def test_far_from_the_face_every_byte_is_kept(astronaut: Image.Image, astronaut_face: Face):
    seen = blurred(astronaut, 1.5)
    one = restored(seen, astronaut, astronaut_face.landmarks)
    changed = (np.asarray(sharpen_around(seen, [one], [])) != np.asarray(seen)).any(-1)
    away = Outline(astronaut_face.landmarks).alignment
    y, x = np.nonzero(changed)
    assert changed.any()
    assert np.hypot(*(np.stack([x, y], axis=1) - away.quad.mean(0)).T).max() < REACH[1] * away.side


def test_a_face_that_is_kept_stays_as_it_is(astronaut: Image.Image, astronaut_face: Face):
    other = astronaut_face.landmarks + np.array([60, 40])  # where no face is, but much that would be sharpened
    seen = blurred(astronaut, 1.5)
    face, _ = regions(astronaut, other)
    one = restored(seen, astronaut, astronaut_face.landmarks)
    changed = sharpen_around(seen, [one], [])
    assert error(changed, seen, face) > 0
    assert error(sharpen_around(seen, [one], [Outline(other)]), seen, face) == 0


def test_a_face_that_restoring_left_as_it_was_sharpens_nothing(astronaut: Image.Image, astronaut_face: Face):
    one = restored(astronaut, astronaut, astronaut_face.landmarks)
    assert not one.gains.any()
    np.testing.assert_array_equal(sharpen_around(astronaut, [one], []), astronaut)


def test_the_more_is_shown_and_the_more_it_was_blurred_the_larger_are_the_gains(
    astronaut: Image.Image, astronaut_face: Face
):
    def gain(radius: float, strength: float = 1.0) -> float:
        return restored(blurred(astronaut, radius), astronaut, astronaut_face.landmarks, strength).gains.sum()

    assert 0 == gain(0.3) < gain(1.0) < gain(2.0)
    assert gain(2.0, 0.5) < gain(2.0)


def test_noise_in_the_drawing_is_no_detail_of_what_was_seen(astronaut: Image.Image, astronaut_face: Face):
    crop = align(blurred(astronaut, 1.5), astronaut_face.landmarks, SIZE)
    noise = np.random.default_rng(0).normal(0, 20, (SIZE, SIZE, 1))
    drawn = Image.fromarray((np.asarray(crop.image) + noise).clip(0, 255).astype(np.uint8))
    assert not Sharpened.of(Outline(astronaut_face.landmarks), crop, drawn, 1.0).gains.any()


def test_what_lies_outside_of_the_photograph_says_nothing(astronaut: Image.Image, astronaut_face: Face):
    crop = align(astronaut, astronaut_face.landmarks, SIZE)
    nowhere = replace(crop, mask=np.zeros_like(crop.mask))
    assert not Sharpened.of(Outline(astronaut_face.landmarks), nowhere, blurred(crop.image, 2), 1.0).gains.any()
    flat = np.full((SIZE, SIZE), 100, np.float32)
    assert not detail_gains(flat, flat, np.ones((SIZE, SIZE), bool)).any()


def test_an_edge_gets_no_halo_and_faint_noise_is_hardly_raised():
    gains = np.array([0, MOST, MOST, MOST])
    edge = np.repeat(np.repeat([40.0, 200.0], 32)[None], 64, axis=0).astype(np.float32)
    soft = np.asarray(Image.fromarray(edge.astype(np.uint8)).filter(ImageFilter.GaussianBlur(2)), dtype=np.float32)
    sharper = soft + raised(soft, gains, 1.0)
    assert sharper.min() >= soft.min()
    assert sharper.max() <= soft.max()
    assert np.abs(np.diff(sharper)).max() > 1.3 * np.abs(np.diff(soft)).max()
    noise = np.random.default_rng(0).normal(100, 1, (64, 64)).astype(np.float32)
    assert (noise + raised(noise, gains, 1.0)).std() < 1.2 * noise.std()


def test_between_two_faces_nothing_is_sharpened_twice(astronaut: Image.Image, astronaut_face: Face):
    seen = blurred(astronaut, 1.5)
    one = restored(seen, astronaut, astronaut_face.landmarks)
    once, twice = (np.asarray(sharpen_around(seen, [one] * count, []), dtype=float) for count in (1, 2))
    assert np.abs(once - twice).max() <= 2  # rounded twice
