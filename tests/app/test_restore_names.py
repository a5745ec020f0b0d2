"""What the results of `faceref restore` are called."""

import json
import os

from outcome import files
from PIL import Image


def test_photographs_that_a_suffix_tells_apart_have_a_comparison_each(restore, album):
    with Image.open(album / "photo.jpg") as photo:
        photo.save(album / "photo.png")
    done = restore(album / "photo.jpg", album / "photo.png", "--ref", album / "references", "--compare")
    assert done.code == 0, done.errors
    assert {"photo_compare_jpg.png", "photo_compare_png.png"} <= files(album)


def test_a_name_that_is_no_text_is_told_as_far_as_it_is(restore, album):
    name = os.fsdecode(b"bad\xfe.jpg")
    (album / "photo.jpg").rename(album / name)
    done = restore(album / name, "--ref", album / "references", "--compare", "--json")
    assert done.code == 0, done.errors
    assert json.loads(done.output)["restored"].endswith("_restored.jpg")
