"""Embeddings tell people apart, and hardly notice how the face was cut out."""

import zipfile

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from faceref.faces.align import align
from faceref.faces.detect import DlibDetector, Face
from faceref.faces.recognise import SAME_PERSON_DISTANCE, DlibRecogniser, distance, similarity


@pytest.fixture(scope="module")
def recogniser() -> DlibRecogniser:
    return DlibRecogniser()


def test_an_embedding_has_128_numbers_of_length_about_one_and_comes_out_the_same_again(
    recogniser: DlibRecogniser, astronaut: Image.Image, astronaut_face: Face
):
    embedding = recogniser.embed(astronaut, astronaut_face.landmarks)
    assert embedding.shape == (128,)
    assert embedding.dtype == np.float32
    assert 1.2 < np.linalg.norm(embedding) < 1.6  # dlib's embeddings lie near a sphere of radius 1.4
    np.testing.assert_array_equal(embedding, recogniser.embed(astronaut, astronaut_face.landmarks))


def test_a_darker_smaller_turned_photo_is_the_same_person(
    recogniser: DlibRecogniser, detector: DlibDetector, astronaut: Image.Image, astronaut_face: Face
):
    other = ImageEnhance.Brightness(astronaut.rotate(12).resize((300, 300))).enhance(0.7)
    embedding = recogniser.embed(other, detector.detect(other)[0].landmarks)
    original = recogniser.embed(astronaut, astronaut_face.landmarks)
    assert 0.01 < distance(embedding, original) < 0.4 < SAME_PERSON_DISTANCE
    assert similarity(embedding, original) > 0.95


@pytest.mark.parametrize("size", [128, 512])
def test_an_aligned_face_is_embedded_as_in_its_photo(
    size: int, recogniser: DlibRecogniser, astronaut: Image.Image, astronaut_face: Face
):
    aligned = align(astronaut, astronaut_face.landmarks, size).image
    (embedding,) = recogniser.embed_aligned([aligned])
    assert distance(embedding, recogniser.embed(astronaut, astronaut_face.landmarks)) < 0.15


def test_a_batch_equals_one_by_one(recogniser: DlibRecogniser, astronaut: Image.Image, astronaut_face: Face):
    images = [astronaut, ImageEnhance.Color(astronaut).enhance(0.2)]
    batch = recogniser.embed_batch(images, [astronaut_face.landmarks] * 2)
    single = [recogniser.embed(image, astronaut_face.landmarks) for image in images]
    np.testing.assert_allclose(batch, single, atol=1e-5)
    assert recogniser.embed_batch([], []).shape == (0, 128)


def test_distance_and_similarity_are_those_of_the_textbook():
    a, b = np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 4.0], [2.0, 0.0]])
    np.testing.assert_allclose(distance(a, b), [5, 1])
    np.testing.assert_allclose(similarity(a, b), [0, 1])


def test_strangers_are_told_apart_and_friends_are_not(recogniser: DlibRecogniser, shared):
    with zipfile.ZipFile(shared / "data" / "lfw128.zip") as crops:
        people: dict[str, list[str]] = {}
        for name in sorted(name for name in crops.namelist() if name.endswith(".webp")):
            people.setdefault(name.split("/")[-2], []).append(name)
        pairs = [names[:2] for names in people.values() if len(names) > 3][:60:5]
        faces = [[Image.open(crops.open(name)).convert("RGB") for name in pair] for pair in pairs]
    first, second = (recogniser.embed_aligned([pair[i] for pair in faces]) for i in (0, 1))
    assert len(pairs) == 12
    assert (distance(first, second) < SAME_PERSON_DISTANCE).mean() >= 0.9
    assert (distance(first, np.roll(second, 1, axis=0)) > SAME_PERSON_DISTANCE).mean() >= 0.9
