"""The product is measured on what a user gets: the whole way through a photograph, with the pipeline's own settings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceref.compute import Compute
from faceref.data.mapping import mapping_from_index
from faceref.evaluation.cases import load_cases
from faceref.evaluation.conditions import Plan
from faceref.evaluation.faces import FaceDescriber
from faceref.evaluation.measurement import Instruments
from faceref.evaluation.models import ModelSpec, SamplingChanges, load_models
from faceref.evaluation.product import Product, in_a_photograph
from faceref.evaluation.run import settings_of
from faceref.faces.centre import Centre
from faceref.faces.detect import DlibDetector
from faceref.faces.dlib_torch import TorchDlibRecogniser
from faceref.pictures.cut import cut_out

SIZE = 64  # of the tiny model


@pytest.fixture(scope="module")
def face(astronaut: Image.Image) -> np.ndarray:
    """A blurred one, uint8 [64, 64, 3]: a good one would be left alone."""
    small = astronaut.crop((140, 15, 310, 185)).resize((20, 20), Image.Resampling.BOX)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def product(model_folder: Path) -> Product:
    (model,) = load_models([ModelSpec.parse(f"{model_folder},steps=1", SamplingChanges())], Compute("cpu"))
    return Product(model)


def test_a_face_is_put_into_a_photograph_and_cut_out_of_it_unchanged(face: np.ndarray):
    photo, box = in_a_photograph(face)
    assert photo.size == (2 * SIZE, 2 * SIZE)
    assert (np.asarray(cut_out(photo, box)) == face).all()
    assert len(DlibDetector().detect(photo)) == 1


def test_a_face_is_found_restored_and_pasted_with_its_references(product: Product, face: np.ndarray, album: Path):
    own, other = [album / "ann/1.png"], [album / "bea/2.png"]
    done = product.restore(np.stack([face, face, face]), [own, other, own], seeds=[0, 0, 1])
    assert done.pixels.shape == (3, SIZE, SIZE, 3)
    assert done.found.tolist() == [1, 1, 1]
    assert (done.seconds > 0).all()
    for pixels in done.pixels:
        changed = (pixels != face).any(-1)
        assert changed[SIZE // 2, SIZE // 2 - 8 : SIZE // 2 + 8].mean() > 0.9  # in the middle of the face
    assert (done.pixels[0] != done.pixels[1]).any()  # other references
    assert (done.pixels[0] != done.pixels[2]).any()  # other noise
    again = product.restore(face[None], [own], seeds=[0])
    np.testing.assert_array_equal(again.pixels[0], done.pixels[0])


def test_without_references_the_model_that_it_brings_along_restores(
    model_folder: Path, tiny_blind_model: Path, face: np.ndarray, tmp_path: Path
):
    both = shutil.copytree(model_folder, tmp_path / "both")
    shutil.copytree(tiny_blind_model, both / "blind")
    pixels = []
    for folder in (model_folder, both, tiny_blind_model):
        (model,) = load_models([ModelSpec.parse(str(folder), SamplingChanges())], Compute("cpu"), product=True)
        pixels.append(Product(model).restore(face[None], [[]], seeds=[0]).pixels)
    np.testing.assert_array_equal(pixels[1], pixels[2])
    assert (pixels[0] != pixels[1]).any()


def test_its_results_depend_on_how_the_model_that_it_brings_along_samples(
    model_folder: Path, tiny_blind_model: Path, album: Path, tmp_path: Path
):
    both = shutil.copytree(model_folder, tmp_path / "both")
    description = Path(shutil.copytree(tiny_blind_model, both / "blind"), "faceref.json")
    cases, device = load_cases(mapping_from_index(album / "index.csv", "test"), album), torch.device("cpu")
    instruments = Instruments(device, FaceDescriber(TorchDlibRecogniser(device), SIZE), Centre.shipped(), None, None)

    def settings(product: bool) -> dict:
        models = load_models([ModelSpec.parse(str(both), SamplingChanges())], Compute("cpu"), product=product)
        plan = Plan(sets=("severe",), most=0, counts=(), seed=0, batch_size=1, product=product)
        return settings_of(cases, cases.cases, models, plan, instruments)

    before = {product: settings(product) for product in (True, False)}
    described = json.loads(description.read_text())
    description.write_text(json.dumps(described | {"steps": described["steps"] + 1}))
    assert settings(True) != before[True]
    assert settings(False) == before[False], "the pipeline alone restores, without the other"


def test_with_the_photograph_itself_as_reference_it_is_as_it_came(product: Product, face: np.ndarray, tmp_path: Path):
    Image.fromarray(face).save(tmp_path / "copy.png")
    done = product.restore(face[None], [[tmp_path / "copy.png"]], seeds=[0])
    np.testing.assert_array_equal(done.pixels[0], face)


def test_where_no_face_is_found_the_photograph_is_as_it_came(product: Product, face: np.ndarray, album: Path):
    grey = np.full_like(face, 128)
    done = product.restore(grey[None], [[album / "ann/1.png"]], seeds=[0])
    assert done.found.tolist() == [0]
    np.testing.assert_array_equal(done.pixels[0], grey)
