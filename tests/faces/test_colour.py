"""A restored face gets the colours of its photograph, and nothing else of it."""

import numpy as np
from PIL import Image

from faceref.faces.align import align
from faceref.faces.colour import match_color
from faceref.faces.detect import Face


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
