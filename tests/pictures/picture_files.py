"""What the tests of pictures share: files in memory, and pixels that can be subtracted."""

import io

import numpy as np
from PIL import Image

from faceref.pictures.photo import Photo


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def difference(photo: Photo, image: Image.Image) -> float:
    assert photo.image.mode == "RGB"
    assert photo.image.size == image.size
    return float(np.abs(pixels(photo.image) - pixels(image.convert("RGB"))).mean())


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
