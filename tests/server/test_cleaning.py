"""Photographs that are cleaned over HTTP: at any strength, and without a face."""

import io

import numpy as np
import pytest
from PIL import Image
from serving import FULLY, png

from faceref.app.server import restoring
from faceref.app.server.restoring import StoppedError, Task
from faceref.app.server.schema import State
from faceref.restore.layers import Layers

CLEANED = FULLY.model_copy(update={"background": "clean"})


def test_a_cleaned_picture_has_any_strength_too(client, restorer, photo):
    job = client.submit(photo, options=CLEANED)
    assert list(client.follow(job.id))[-1].state == State.DONE
    for strength in (0.3, 0.0):
        asked = CLEANED.model_copy(update={"strength": strength})
        expected = restorer.restore(photo, options=asked).encode("PNG")[0]
        assert client.result(job.id, strength=strength, keep=True)[0] == expected


def test_a_photograph_without_a_face_is_cleaned(client, restorer):
    noisy = Image.effect_noise((64, 64), 40).convert("RGB")
    cleaned = client.restore(png(noisy), options=CLEANED)
    assert cleaned.data == restorer.restore(png(noisy), options=CLEANED).encode("PNG")[0]
    before, after = (np.asarray(one).std() for one in (noisy, Image.open(io.BytesIO(cleaned.data))))
    assert after < before / 2
    assert cleaned.account.background == "clean"


@pytest.mark.parametrize("before", ["layers", "picture"])
def test_of_a_job_that_is_cancelled_no_more_pictures_are_compressed(before, restorer, photo, monkeypatch):
    made = []
    for owner, name, what in ((Layers, "of", "layers"), (restoring, "encoded", "picture")):
        make = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, make=make, what=what: made.append(what) or make(*given))

    def check() -> None:
        if before == "layers" or made:
            raise StoppedError

    with pytest.raises(StoppedError):
        restoring.restored(restorer, Task(photo, (), CLEANED), lambda *_: None, check)
    assert made == ([] if before == "layers" else ["layers"])
