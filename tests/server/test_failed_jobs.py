"""Jobs that fail: whoever waits is told, and nothing of them stays in the way."""

import pytest
from serving import until

from faceref.app.server.schema import State
from faceref.client import ServerError


def test_who_waits_is_told_of_which_job_it_is_that_failed_and_it_is_not_kept_for_long(serve, wall):
    http = serve(kept=1, fetched_seconds=0)
    for _ in range(2):
        answer = http.post("/v1/restore", files={"photo": wall}, headers={"Prefer": "wait=60"})
        assert (answer.status_code, answer.json()["code"]) == (422, "no_face")
        where = answer.headers["Content-Location"]
        assert http.get(where.removesuffix("/result")).status_code == 404


def test_what_a_job_failed_of_can_be_looked_at_and_kept(serve, wall):
    http = serve(fetched_seconds=0)
    job = http.post("/v1/restore", files={"photo": wall}).json()["id"]
    until(lambda: http.get(f"/v1/jobs/{job}").json()["state"] == State.FAILED)
    said = [http.get(f"/v1/jobs/{job}/result", params={"keep": keep}) for keep in (True, False)]
    assert [answer.json()["code"] for answer in said] == ["no_face", "no_face"]
    assert http.get(f"/v1/jobs/{job}").status_code == 404


def test_a_job_that_fails_says_why(client, wall):
    job = client.submit(wall)
    until(lambda: client.job(job.id).is_over)
    assert client.job(job.id).state == State.FAILED
    with pytest.raises(ServerError, match="No face was found in the picture") as failed:
        client.result(job.id)
    assert (failed.value.status, failed.value.code) == (422, "no_face")
