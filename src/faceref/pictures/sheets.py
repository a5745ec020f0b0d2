"""Sheets for looking at many pictures: side by side, one below the other, in a grid, under their names, on white."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from faceref.errors import printable

INK = "#444444"
FONT = "fonts/ttf/DejaVuSans.ttf"  # of matplotlib; Pillow's own has no letters but English ones


def tile(picture: Image.Image, side: int) -> Image.Image:
    """The square in the middle of a picture, RGB, at `side` pixels."""
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def beside(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures from left to right, their upper edges in one line, `gap` pixels apart."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    return sheet


def below(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures from top to bottom, their left edges in one line, `gap` pixels apart."""
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(picture.width for picture in pictures), height), "white")
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + gap
    return sheet


def grid(pictures: Sequence[Image.Image], columns: int, gap: int = 0) -> Image.Image:
    """Pictures of one size in rows of `columns`, `gap` pixels apart."""
    rows = (pictures[start : start + columns] for start in range(0, len(pictures), columns))
    return below([beside(row, gap) for row in rows], gap)


def titled(picture: Image.Image, title: str, size: int) -> Image.Image:
    """A picture under a title in letters of `size` pixels; a long title widens the sheet."""
    title = printable(title)
    width = max(picture.width, round(_font(size).getlength(title)) + 2)
    return below([_written(title, size, (width, 2 * size)), picture])


def named(picture: Image.Image, name: str, size: int) -> Image.Image:
    """A picture over its name in letters of `size` pixels; of a long one the end, of a path whole names if they fit."""
    name = printable(name)
    font, parts = _font(size), name.split("/")
    of_path = ["…/" + "/".join(parts[i:]) for i in range(1, len(parts))]
    of_letters = ["…" + parts[-1][i:] for i in range(len(parts[-1]))]
    shown = next((end for end in [name, *of_path, *of_letters] if font.getlength(end) < picture.width), "…")
    return below([picture, _written(shown, size, (picture.width, round(1.4 * size)))])


def comparison(
    before: Image.Image, after: Image.Image, references: Sequence[Image.Image], height: int = 512, of: str = ""
) -> Image.Image:
    """Before, after and references side by side, each under its name; `height` is that of before and after.

    of: whose face it is, where a sheet has several.
    """
    gap, text = height // 32, max(height // 24, 12)
    columns = [
        titled(_to_height(before, height), f"{of}: before" if of else "before", text),
        titled(_to_height(after, height), "after", text),
    ]
    if references:
        # as few rows as keep the grid from being wide
        rows = max(1, round((len(references) / 2) ** 0.5))
        side = (height - gap // 2 * (rows - 1)) // rows
        tiles = grid([tile(picture, side) for picture in references], -(-len(references) // rows), gap // 2)
        columns.append(titled(tiles, f"references ({len(references)})", text))
    return ImageOps.expand(beside(columns, gap), gap, "white")


def _written(text: str, size: int, shape: tuple[int, int]) -> Image.Image:
    paper = Image.new("RGB", shape, "white")
    ImageDraw.Draw(paper).text((1, 1), text, fill=INK, font=_font(size))
    return paper


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # not before something is drawn: it takes half a second

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / FONT, size)


def _to_height(image: Image.Image, height: int) -> Image.Image:
    width = max(round(image.width * height / image.height), 1)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
