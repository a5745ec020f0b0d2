"""A pasted face lands where it came from, fades into the photo, and leaves the rest of it alone to the byte."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from faceref.faces.align import align
from faceref.faces.detect import Face
from faceref.faces.paste import match_color, paste


@pytest.mark.parametrize("size", [64, 128, 512])
def test_the_face_comes_back_to_where_it_was(size: int, astronaut: Image.Image, astronaut_face: Face):
    aligned = align(astronaut, astronaut_face.landmarks, size)
    back = np.asarray(paste(astronaut, aligned.image, aligned.alignment), dtype=float)
    # the face is 165 px wide in the photo: 64 px lose detail, but nothing may move: compare what both can hold
    blur = ImageFilter.GaussianBlur(4)
    smooth = [
        np.asarray(Image.fromarray(p.astype(np.uint8)).filter(blur), dtype=float) for p in (back, np.asarray(astronaut))
    ]
    assert np.abs(smooth[0] - smooth[1]).max() < 5
    if size == 512:
        assert np.abs(back - np.asarray(astronaut)).mean() < 0.5


@pytest.mark.parametrize("size", [64, 512])
def test_what_is_off_the_face_keeps_its_bytes(size: int, astronaut: Image.Image, astronaut_face: Face):
    alignment = align(astronaut, astronaut_face.landmarks, size).alignment
    pasted = np.asarray(paste(astronaut, Image.new("RGB", (size, size), (0, 255, 0)), alignment))
    y, x = np.mgrid[:512, :512]
    crop = (alignment.to_crop(np.stack([x, y], axis=-1).reshape(-1, 2)).reshape(512, 512, 2) + 0.5) / size
    outside = ((crop < 0) | (crop > 1)).any(-1)
    np.testing.assert_array_equal(pasted[outside], np.asarray(astronaut)[outside])
    face = np.hypot(*np.moveaxis((crop - (0.5, 0.55)) / 0.25, -1, 0)) < 1
    assert (pasted[face] == (0, 255, 0)).all()
    assert 0.5 < (pasted != np.asarray(astronaut)).any(-1)[~outside].mean() < 0.85


def test_the_seam_cannot_be_seen(astronaut: Image.Image, astronaut_face: Face):
    gray = Image.new("RGB", astronaut.size, (100, 100, 100))
    alignment = align(gray, astronaut_face.landmarks, 128).alignment
    pasted = np.asarray(paste(gray, Image.new("RGB", (128, 128), (200, 200, 200)), alignment), dtype=float)[..., 0]
    assert pasted.max() == 200
    assert max(np.abs(np.diff(pasted, axis=axis)).max() for axis in (0, 1)) < 8  # of a step of 100


def test_a_face_larger_than_the_photo_has_room_for_is_averaged_not_sampled(
    astronaut: Image.Image, astronaut_face: Face
):
    checks = np.repeat((np.indices((1024, 1024)).sum(0) % 2 * 255)[..., None], 3, axis=2).astype(np.uint8)
    alignment = align(astronaut, astronaut_face.landmarks, 1024).alignment
    pasted = np.asarray(paste(astronaut, Image.fromarray(checks), alignment), dtype=float)
    x, y = alignment.to_photo(np.array([(512, 512)]))[0].round().astype(int)
    assert np.abs(pasted[y - 20 : y + 20, x - 20 : x + 20] - 127.5).max() < 40


def test_a_face_at_the_edge_is_pasted_as_far_as_the_photo_reaches(astronaut: Image.Image, astronaut_face: Face):
    photo = astronaut.crop((200, 0, 512, 512))
    aligned = align(photo, astronaut_face.landmarks - (200, 0), 128)
    pasted = np.asarray(paste(photo, Image.new("RGB", (128, 128), "red"), aligned.alignment))
    assert pasted.shape == (512, 312, 3)
    assert (pasted[125, 0] == (255, 0, 0)).all()  # the middle of the face, in the photo's first column


def test_color_is_matched_over_the_face(astronaut: Image.Image, astronaut_face: Face):
    face = align(astronaut, astronaut_face.landmarks, 128).image
    tinted = Image.fromarray(np.clip(np.asarray(face, dtype=int) - (25, 0, 10), 0, 255).astype(np.uint8))
    matched = match_color(tinted, face, np.full((128, 128), 255, dtype=np.uint8))
    middle = (slice(40, 100), slice(35, 93))
    means = [np.asarray(picture)[middle].reshape(-1, 3).mean(0) for picture in (face, tinted, matched)]
    assert np.abs(means[1] - means[0]).max() > 15
    assert np.abs(means[2] - means[0]).max() < 5
    # a shift of each channel and nothing else: contrast stays that of the restored face
    assert (
        np.ptp(np.asarray(matched, dtype=int)[60:70, 60:70] - np.asarray(tinted)[60:70, 60:70], axis=(0, 1)).max() == 0
    )


def test_color_outside_of_the_photo_does_not_count():
    degraded = np.full((64, 64, 3), 100, dtype=np.uint8)
    degraded[:, :32] = 250  # padding
    mask = np.full((64, 64), 255, dtype=np.uint8)
    mask[:, :32] = 0
    matched = match_color(Image.new("RGB", (64, 64), (50, 60, 70)), Image.fromarray(degraded), mask)
    assert matched.getpixel((5, 5)) == (100, 100, 100)
    untouched = match_color(Image.new("RGB", (64, 64), (50, 60, 70)), Image.fromarray(degraded), np.zeros_like(mask))
    assert untouched.getpixel((5, 5)) == (50, 60, 70)


def test_a_grayscale_photo_stays_grayscale(astronaut: Image.Image, astronaut_face: Face):
    photo = astronaut.convert("L").convert("RGB")
    aligned = align(photo, astronaut_face.landmarks, 128)
    restored = aligned.image.filter(ImageFilter.SHARPEN)
    pasted = paste(photo, match_color(restored, aligned.image, aligned.mask), aligned.alignment)
    assert np.ptp(np.asarray(pasted), axis=2).max() == 0
