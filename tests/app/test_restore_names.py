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
    (album / "photo.png").rename(album / "PHOTO.png")
    done = restore(album / "photo.jpg", album / "PHOTO.png", "--ref", album / "references", "--compare")
    assert "PHOTO_compare_png.png" in files(album)  # photo_compare.png and PHOTO_compare.png may be one file


def test_a_name_that_is_no_text_is_told_as_far_as_it_is(restore, album):
    name = os.fsdecode(b"bad\xfe.jpg")
    (album / "photo.jpg").rename(album / name)
    done = restore(album / name, "--ref", album / "references", "--compare", "--json")
    assert done.code == 0, done.errors
    assert json.loads(done.output)["restored"].endswith("_restored.jpg")


def test_results_among_several_photographs_are_passed_over_as_by_a_pattern_that_is_used_twice(restore, album):
    restore(album / "photo.jpg")
    result = album / "photo_restored.jpg"
    done = restore(album / "photo.jpg", result)
    assert f"{result} is a result of faceref already, and was passed over" in done.errors
    assert [path.name for path in album.glob("*_restored*")] == ["photo_restored.jpg"]
    assert restore(result).code == 0
    assert (album / "photo_restored_restored.jpg").is_file()
