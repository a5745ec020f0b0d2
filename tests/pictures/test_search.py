"""Photographs are found in folders, in the order in which people number them."""

import os
from pathlib import Path

import pytest
from PIL import Image

from faceref.errors import PhotoError
from faceref.pictures.photo import read_bytes
from faceref.pictures.search import find_photos, photo_digest


def photo_file(path: Path, color: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 30), (color, 0, 0)).save(path)
    return path


def test_photos_are_found_in_files_and_folders_in_natural_order(tmp_path: Path):
    folder = tmp_path / "album"
    second, tenth = photo_file(folder / "img2.png", 2), photo_file(folder / "img10.PNG", 10)
    nested = photo_file(folder / "more" / "a.jpg", 3)
    photo_file(folder / ".hidden.png", 4)
    photo_file(folder / ".trash" / "b.png", 5)
    (folder / "notes.txt").write_text("not a picture")
    single = photo_file(tmp_path / "single.webp", 6)
    assert find_photos([single, str(folder)]) == [single, second, tenth, nested]


def test_photos_with_the_same_bytes_count_once(tmp_path: Path):
    first = photo_file(tmp_path / "a.png", 7)
    (tmp_path / "b.png").write_bytes(first.read_bytes())
    other = photo_file(tmp_path / "c.png", 8)
    assert find_photos([tmp_path, first]) == [first, other]


def test_a_folder_without_pictures_and_a_missing_file_are_errors(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(PhotoError, match="has no JPEG"):
        find_photos([tmp_path])
    with pytest.raises(PhotoError, match="does not exist"):
        find_photos([tmp_path / "nobody.jpg"])
    with pytest.raises(PhotoError, match=r"x\.jpg cannot be read \(File name too long\)"):
        find_photos([tmp_path / ("x" * 300 + ".jpg")])


def test_links_are_followed_once_and_one_to_nothing_is_named(tmp_path: Path):
    album = tmp_path / "album"
    inside = photo_file(album / "a.png", 1)
    photo_file(tmp_path / "elsewhere" / "b.png", 2)
    (album / "linked").symlink_to(tmp_path / "elsewhere")
    (album / "linked again").symlink_to(tmp_path / "elsewhere")
    (album / "loop").symlink_to(album)
    for name in ("gone.png", "gone too.png"):
        (album / name).symlink_to(tmp_path / "nothing.png")
    gone = [album / "gone too.png", album / "gone.png"]
    found = find_photos([album])
    assert found == [inside, *gone, album / "linked" / "b.png"]
    for read in (read_bytes, photo_digest):  # as a dry run and a restoration do
        with pytest.raises(PhotoError, match=r"gone\.png does not exist; check the name\.$"):
            read(album / "gone.png")


def test_pipes_in_folders_are_passed_over_and_refused_by_name(tmp_path: Path):
    inside = photo_file(tmp_path / "a.png", 1)
    os.mkfifo(tmp_path / "pipe.png")
    assert find_photos([tmp_path]) == [inside]
    for endless in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(PhotoError, match="is a pipe or a device"):
            find_photos([endless])
