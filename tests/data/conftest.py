"""Two people made of one portrait, as photographs and as aligned faces, for the tests of data sets."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from faceref.data.tree import align_tree

Variant = Callable[[Image.Image], Image.Image]

# Euclidean distances of dlib's embeddings: 0.23..0.41 among Eileen's, 0.30..0.52 among Solara's, 0.56 and more between
PEOPLE: dict[str, dict[str, Variant]] = {
    "Eileen": {
        "a": lambda portrait: portrait,
        "b": lambda portrait: portrait.resize((340, 254)),
        "c": lambda portrait: portrait.resize((254, 340)),
        "d": lambda portrait: ImageOps.posterize(portrait, 2),
    },
    "Solara": {
        "a": lambda portrait: ImageOps.solarize(portrait, 150),
        "b": lambda portrait: ImageOps.solarize(portrait, 150).resize((340, 254)),
        "c": lambda portrait: ImageOps.solarize(portrait, 150).resize((254, 340)),
        "d": lambda portrait: ImageOps.solarize(portrait, 110),
    },
}


@pytest.fixture(scope="session")
def photographs(portrait: Image.Image, tmp_path_factory) -> Path:
    """Eileen/{a,b,c,d}.png and Solara/{a,b,c,d}.png; not to be changed."""
    folder = tmp_path_factory.mktemp("photographs")
    for person, variants in PEOPLE.items():
        (folder / person).mkdir()
        for name, variant in variants.items():
            variant(portrait).save(folder / person / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def aligned_once(photographs: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("aligned") / "faces"
    align_tree(photographs, out, size=64)
    return out


@pytest.fixture
def faces(aligned_once: Path, tmp_path: Path) -> Path:
    """The photographs aligned at 64 px, with an index that names nobody; a copy of the test's own."""
    shutil.copytree(aligned_once, tmp_path / "faces")
    return tmp_path / "faces"
