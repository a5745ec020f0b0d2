"""Pictures that browsers cannot show come as a JPEG: photographs that are sent, and results."""

import io

import numpy as np
from PIL import Image
from serving import png

from faceref.app.server.schema import State
from faceref.client import Client


def test_a_photograph_is_shown_as_a_jpeg_of_its_size(serve, portrait):
    tiff = io.BytesIO()
    portrait.save(tiff, "TIFF")
    http = serve()
    answer = http.post("/v1/preview", files={"photo": tiff.getvalue()})
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (answer.headers["content-type"], shown.format, shown.size) == ("image/jpeg", "JPEG", portrait.size)
    assert http.post("/v1/preview", files={"photo": b"no picture"}).json()["subject"] == "The photograph"
    long = http.post("/v1/preview", files={"photo": png(Image.new("L", (66_000, 40)))})
    with Image.open(io.BytesIO(long.content)) as shown:
        assert (long.headers["content-type"], shown.format, shown.size) == ("image/png", "PNG", (66_000, 40))


def test_a_result_that_is_larger_than_a_request_may_be_is_shown_too(serve, portrait):
    tiff = io.BytesIO()
    photo = portrait.resize((32, 32)).resize((700, 700))
    photo.save(tiff, "TIFF", compression="tiff_adobe_deflate")  # results are not compressed
    http = serve(megabytes=1)
    client = Client(http=http)
    id = client.submit(tiff.getvalue()).id
    assert list(client.follow(id))[-1].state == State.DONE
    for strength in (1, 0.5):
        data, _ = client.result(id, strength=strength, keep=True)
        assert len(data) > 2**20
        answer = http.get(f"/v1/jobs/{id}/result?keep=true&preview=true&strength={strength}")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as shown, Image.open(io.BytesIO(data)) as made:
            assert shown.size == photo.size
            assert np.abs(np.asarray(shown, float) - np.asarray(made, float)).mean() < 3
