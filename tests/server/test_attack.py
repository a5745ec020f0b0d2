"""Damaged pictures, nonsense and failures: an answer always, never a traceback, and nobody's name in the log."""

import json
import logging
import resource
from importlib.metadata import version

import numpy as np
import pytest
from damaged import bombs, damaged, other_files, pictures
from serving import TOKENS

from faceref.client import Client, ServerError
from faceref.restore.options import RestoreOptions


def test_damaged_pictures_are_answered(serve, astronaut):
    rng = np.random.default_rng(0)
    files = pictures(astronaut.crop((0, 0, 24, 24)))  # without a face
    http = serve()
    for i in range(28):
        route = ("/v1/faces", "/v1/restore")[i // len(files) % 2]
        spoilt = damaged(files[i % len(files)], rng)
        answer = http.post(route, files={"photo": spoilt}, headers={"Prefer": "wait=30"})
        assert answer.status_code == 422, (i, answer.text)
        assert answer.json()["code"] in ("photo", "no_face")
    assert http.get("/readyz").status_code == 200


def test_bombs_and_what_is_no_picture_are_refused_without_being_unpacked(serve):
    http = serve()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in (bombs() | other_files()).items():
        answer = http.post("/v1/faces", files={"photo": data})
        assert answer.status_code == 422, name
        assert answer.json()["code"] in ("photo", "no_face"), name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB; a bomb is a gigabyte


@pytest.mark.parametrize(
    "send",
    [
        lambda http: http.post("/v1/restore", content=b"nonsense"),
        lambda http: http.post("/v1/restore", content=b"--x", headers={"Content-Type": "multipart/form-data"}),
        lambda http: http.post("/v1/restore", data={"photo": "no file"}),
        lambda http: http.post("/v1/people", data={"name": "\0"}, files={"photos": b"x"}),
        lambda http: http.patch("/v1/people/a", content=b"{"),
        lambda http: http.patch("/v1/people/a", content=rb'{"name": "\ud800"}'),
        lambda http: http.post("/v1/people/a/merge", content=rb'{"other": "\ud800"}'),
        lambda http: http.get("/v1/people/%ff%00"),
        lambda http: http.request("EILEEN", "/v1/people"),
        lambda http: http.get("/v1/jobs/%00"),
        lambda http: http.put("/v1/restore"),
        lambda http: http.get("/../../etc/passwd"),
    ],
)
def test_nonsense_is_refused_in_the_same_form(serve, send):
    answer = send(serve())
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"code", "subject", "reason", "hint"}


def test_a_failure_of_the_server_ends_one_request_only(serve, restorer, photo, monkeypatch, caplog):
    http = serve()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a name")

    with monkeypatch.context() as broken:
        broken.setattr(restorer, "match", fail)
        broken.setattr(restorer, "restore", fail)
        for route in ("/v1/faces", "/v1/restore"):
            answer = http.post(route, files={"photo": photo}, headers={"Prefer": "wait=30"})
            assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    said = [record.getMessage().splitlines()[0] for record in caplog.records]
    assert [line.split()[-1] for line in said] == ["ZeroDivisionError"] * 2
    assert "ZeroDivisionError: a name" not in caplog.text
    assert Client(http=http).faces(photo).faces


def test_the_log_has_a_line_for_each_request_that_names_nobody(serve, photo, caplog):
    caplog.set_level(logging.INFO, "faceref.app.server")
    client = Client(token=TOKENS[0], http=(http := serve(TOKENS)))
    with pytest.raises(ServerError):
        client.person("Eileen")
    answer = http.post("/v1/faces", files={"photo": ("eileen.jpg", photo)}, headers=client._headers)
    lines = [json.loads(record.message) for record in caplog.records if record.name.endswith("watch")]
    assert [(line["route"], line["status"]) for line in lines] == [("/v1/people/{name}", 404), ("/v1/faces", 200)]
    assert lines[1]["request"] == answer.headers["x-request-id"]
    assert "eileen" not in caplog.text.lower()
    metrics = http.get("/metrics", headers=client._headers).text
    assert 'faceref_requests_total{method="GET",route="/v1/people/{name}",status="404"} 1.0' in metrics
    assert "faceref_jobs_waiting 0.0" in metrics
    assert 'faceref_request_seconds_bucket{le="120.0",route="/v1/faces"} 1.0' in metrics
    assert 'faceref_jobs_finished_total{state="done"} 0.0' in metrics


def test_what_the_server_says_of_itself_is_whole(serve):
    http = serve()
    told = http.get("/openapi.json").json()
    assert told["components"]["schemas"]["Job"]["examples"]
    assert "securitySchemes" not in told["components"]
    assert {"/v1/restore", "/v1/jobs/{id}/events", "/v1/people/{name}/merge"} <= told["paths"].keys()
    assert [model["name"] for model in http.get("/v1/models").json()] == ["tiny"]
    assert http.get("/docs").status_code == 404  # it would load scripts from elsewhere


def test_a_client_can_be_made_of_what_the_server_says_of_itself(serve):
    told = serve(TOKENS[:1]).get("/openapi.json", headers={"Authorization": f"Bearer {TOKENS[0]}"}).json()
    assert told["info"]["version"] == version("faceref")
    assert told["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert {"HTTPBearer": []} in told["paths"]["/v1/restore"]["post"]["security"]
    (options,) = (
        fields["options"]["contentSchema"]["$ref"]
        for name, schema in told["components"]["schemas"].items()
        if "restore" in name and "options" in (fields := schema.get("properties", {}))
    )
    described = told["components"]["schemas"][options.rsplit("/")[-1]]
    assert described["properties"].keys() == RestoreOptions.model_fields.keys()
