"""A part of a picture, however large."""

from PIL import Image


def cut_out(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """What `image.crop` gives of (left, top, right, bottom), which refuses more than 178 megapixels; none is empty."""
    left, top, right, bottom = box
    return image.transform((right - left, bottom - top), Image.Transform.EXTENT, box)
