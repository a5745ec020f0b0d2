"""Sheets show every picture once, whole and where it belongs, and every name as far as there is room."""

import numpy as np
import pytest
from PIL import Image

from faceref.pictures.sheets import below, beside, comparison, grid, named, tile, titled

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(colour: tuple[int, int, int], width: int = 10, height: int = 10) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_pictures_stand_beside_and_below_each_other_with_a_gap_of_paper():
    row = beside([plain(RED, 10, 20), plain(BLUE, 30, 10)], gap=2)
    assert row.size == (42, 20)
    assert [row.getpixel(place) for place in ((9, 19), (10, 0), (12, 9), (12, 10))] == [
        RED,
        (255,) * 3,
        BLUE,
        (255,) * 3,
    ]
    column = below([plain(RED, 10, 20), plain(BLUE, 30, 10)], gap=2)
    assert column.size == (30, 32)
    assert [column.getpixel(place) for place in ((9, 19), (10, 0), (0, 20), (29, 22))] == [
        RED,
        (255,) * 3,
        (255,) * 3,
        BLUE,
    ]


def test_a_grid_fills_rows_and_leaves_the_rest_of_the_last_one_white():
    sheet = grid([plain((40 * i, 0, 0)) for i in range(5)], columns=3, gap=1)
    assert sheet.size == (32, 21)
    corners = [sheet.getpixel((11 * (i % 3), 11 * (i // 3))) for i in range(6)]
    assert corners == [*((40 * i, 0, 0) for i in range(5)), (255, 255, 255)]


def test_a_tile_is_the_middle_of_a_picture_in_rgb():
    wide = beside([plain(RED, 10, 20), plain(BLUE, 20, 20), plain(RED, 10, 20)]).convert("RGBA")
    assert tile(wide, 20).getcolors() == [(400, BLUE)]
    assert tile(wide, 8).size == (8, 8)


@pytest.mark.parametrize("name", ["a.png", "a very long name of a photograph.png"])
def test_a_name_takes_no_room_from_its_picture_and_does_not_widen_it(name: str):
    sheet = np.asarray(named(plain(RED, 60, 20), name, 10))
    assert sheet.shape[1] == 60
    assert (sheet[:20] == RED).all()
    assert (sheet[20:] < 128).any()


def test_a_long_name_shows_its_end():
    start, same_end = (
        np.asarray(named(plain(RED, 60, 2), name, 10)) for name in ("x" * 50 + "end", "y" + "x" * 50 + "end")
    )
    assert (start == same_end).all()


def test_a_long_path_shows_whole_names_where_they_fit():
    short, long = (np.asarray(named(plain(RED, 90, 2), f"{folder}/b/c/ada.png", 10)) for folder in ("a", "x" * 50))
    assert (long == np.asarray(named(plain(RED, 90, 2), "…/b/c/ada.png", 10))).all()
    assert (short != long).any()


def test_names_are_drawn_in_letters_of_other_languages_too():
    drawn = [named(plain(RED, 90, 2), name, 10).tobytes() for name in ("Ürän", "Łłłł", "Иван", "Ελέν", "□□□□")]
    assert len(set(drawn)) == 5, "some are drawn as boxes"


def test_a_long_title_is_whole():
    short, long = (titled(plain(RED), title, 12) for title in ("a", "a person with a long name: 12 photographs"))
    assert short.width < long.width
    assert (np.asarray(long)[:24, long.width // 2 :] < 128).any()
    assert long.getpixel((0, 24)) == RED


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_comparison_shows_before_after_and_all_references(count: int):
    before, after = Image.new("RGB", (100, 200), "red"), Image.new("RGB", (100, 200), "blue")
    references = [Image.new("RGB", (80, 120), (0, 100 + 10 * i, 0)) for i in range(count)]
    sheet = np.asarray(comparison(before, after, references, height=256))

    def area(color: tuple[int, int, int]) -> int:
        return int((sheet == color).all(-1).sum())

    assert area((255, 0, 0)) == area((0, 0, 255)) == 128 * 256
    first_red, first_blue = (np.argmax((sheet == color).all(-1).any(0)) for color in ((255, 0, 0), (0, 0, 255)))
    assert first_red < first_blue
    tiles = [area((0, 100 + 10 * i, 0)) for i in range(count)]
    assert all(tile > 100 * 100 for tile in tiles)
    assert len(set(tiles)) <= 1
    labels = sheet[: sheet.shape[0] - 256 - 16]
    assert (labels < 128).any()


def test_a_line_break_in_a_name_is_written_as_what_it_is():
    picture = Image.new("RGB", (200, 40))
    plain, broken = named(picture, "a\\nb.png", 12), named(picture, "a\nb.png", 12)
    assert plain.tobytes() == broken.tobytes()
    assert titled(picture, "a\\nb", 12).tobytes() == titled(picture, "a\nb", 12).tobytes()
