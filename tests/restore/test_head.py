"""Hair, ears and neck are restored with a face, unless somebody else's face, or an upscaler's hair, is there."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from restoring import box_of, restore

from faceref import Restorer
from faceref.models.upscaler import Upscaler
from faceref.restore import background


def changed_above(before: Image.Image, after: Image.Image, box: Sequence[float]) -> float:
    """The share of pixels in the middle of a face's hair, above the forehead, that are not what they were."""
    left, top, right, _ = box
    third = (right - left) / 3
    hair = (int(left + third), int(top - 1.6 * third), int(right - third), int(top - 1.2 * third))
    old, new = (np.asarray(picture.convert("RGB").crop(hair), dtype=int) for picture in (before, after))
    return float((old != new).any(axis=-1).mean())


def test_hair_is_restored_with_its_face(restorer, portrait):
    result = restore(restorer, portrait)
    (one,) = result.faces
    assert one.face.head
    assert changed_above(portrait, result.image, box_of(one)) > 0.9


def test_beside_another_face_only_the_face_is(restorer, portrait):
    close = portrait.crop((68, 0, 182, portrait.height))  # each has the other's cheek in its square
    both = Image.new("RGB", (2 * close.width, close.height))
    both.paste(close, (0, 0))
    both.paste(close, (close.width, 0))
    result = restore(restorer, both)
    assert [one.face.head for one in result.faces] == [False, False]
    assert all(changed_above(both, result.image, box_of(one)) < 0.1 for one in result.faces)


def test_enlarged_plainly_it_is_restored_too(restorer, portrait):
    (one,) = restore(restorer, portrait, background="lanczos").faces
    assert one.face.head


def test_an_upscaler_has_drawn_the_hair_itself(restorer, portrait, monkeypatch):
    def twice(values: np.ndarray) -> np.ndarray:
        return values.repeat(2, 0).repeat(2, 1)

    monkeypatch.setattr(background, "find_realesrgan", lambda: None)
    monkeypatch.setattr(background, "load_realesrgan", lambda: Upscaler("realesrgan", 2, twice))
    upscaling = Restorer(restorer.model, restorer.blind, restorer.detector, restorer.recogniser)
    result = restore(upscaling, portrait, background="realesrgan", scale=2)
    drawn = Image.fromarray(twice(np.asarray(portrait.convert("RGB"))))
    box = [2 * edge for edge in box_of(*result.faces)]
    assert changed_above(drawn, result.image, box) < 0.1


def test_the_face_alone_is_restored_if_that_is_asked_for(restorer, portrait):
    result = restore(restorer, portrait, face_only=True)
    (one,) = result.faces
    assert not one.face.head
    assert changed_above(portrait, result.image, box_of(one)) < 0.1
