"""What tests share: a real face that may be redistributed, and the folder of research photographs where it exists."""

import os
from pathlib import Path

import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """NASA's portrait of Eileen Collins (public domain), RGB 512x512; the package scikit-image carries it."""
    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden numbers and research photographs; a test that asks for it is skipped without it."""
    folder = Path(os.environ.get("FACEREF_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set FACEREF_SHARED to the folder with golden/ and data/ to run this test.")
    return folder
