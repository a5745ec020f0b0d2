"""A real face, somebody else, and both in one photograph; a restorer with a tiny model."""

import pytest
from PIL import Image, ImageOps

from faceref import Restorer
from faceref.faces.detect import DlibDetector


@pytest.fixture(scope="session")
def restorer(tiny_model) -> Restorer:
    return Restorer.from_pretrained(tiny_model, device="cpu", detector=DlibDetector())


@pytest.fixture(scope="session")
def portrait(astronaut) -> Image.Image:
    return astronaut.crop((96, 0, 350, 254))


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
