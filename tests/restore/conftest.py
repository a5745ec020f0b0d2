"""The portrait mirrored, somebody else, both in one photograph, a tree of photographs; a tiny model's restorer."""

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from faceref import RestoreOptions, Restorer
from faceref.faces.detect import DlibDetector
from faceref.restore.request import Request


@pytest.fixture(scope="session")
def restorer(tiny_model) -> Restorer:
    return Restorer.from_pretrained(tiny_model, device="cpu", detector=DlibDetector())


@pytest.fixture(scope="session")
def mirrored(portrait) -> Image.Image:
    """Another photograph of the same person, as far as one may be had: dlib's distance is 0.2."""
    return ImageOps.mirror(portrait)


@pytest.fixture(scope="session")
def stranger(portrait) -> Image.Image:
    """For dlib's recogniser a solarised portrait is somebody else (distance 0.69); its detector finds the face."""
    return ImageOps.solarize(portrait, 150)


@pytest.fixture(scope="session")
def couple(portrait, stranger) -> Image.Image:
    """The stranger, then the astronaut."""
    photo = Image.new("RGB", (2 * portrait.width, portrait.height))
    photo.paste(stranger, (0, 0))
    photo.paste(portrait, (portrait.width, 0))
    return photo


@pytest.fixture
def tree(tmp_path, portrait, mirrored) -> Path:
    """Two portraits, one of them in a format that is not written, a wall, and a file that is no picture."""
    (tmp_path / "good").mkdir()
    mirrored.save(tmp_path / "good" / "new.jpg", quality=95)
    photos = tmp_path / "photos"
    (photos / "1950" / "summer").mkdir(parents=True)
    portrait.save(photos / "portrait.jpg", quality=95)
    portrait.save(photos / "1950" / "portrait.bmp")
    Image.new("RGB", (200, 200), "gray").save(photos / "1950" / "summer" / "wall.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def request_(tree, tiny_model) -> Request:
    options = RestoreOptions(always=True)
    return Request(str(tiny_model), "dlib", references=(tree / "good",), options=options)
