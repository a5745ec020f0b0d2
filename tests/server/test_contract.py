"""The API against its own description: whatever is sent, the answer is one that openapi.json knows, and no failure.

`benchmarks/server_attack.py` does the same for longer.
"""

import json

import httpx2 as httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import TOKENS, listening

from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits
from faceref.app.server.schema import Problem
from faceref.client import SILENT, Client, ServerError
from faceref.restore.options import RestoreOptions

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TOLD = {"Authorization": f"Bearer {TOKENS[0]}"}


@pytest.fixture(scope="module")
def address(restorer, tmp_path_factory):
    """Where a server of one token listens, which lets nobody wait for long."""
    limits = Limits(wait_seconds=1, kept=10_000)
    with listening(create_app(restorer, TOKENS[:1], tmp_path_factory.mktemp("kept"), limits)) as address:
        yield address


def test_every_answer_is_one_that_the_description_knows(address):
    found = schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations()
    operations = [one.ok() for one in found]  # type: ignore[union-attr]
    assert len(operations) > 15
    for operation in operations:

        @FEW
        @given(case=operation.as_strategy())
        def holds(case):
            case.call_and_validate(headers=TOLD, checks=CHECKS)

        holds()


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none())
        for name in (*RestoreOptions.model_fields, "other")
    },
)


@settings(FEW, max_examples=60)
@given(options=OPTIONS)
def test_options_are_taken_or_named(address, options):
    asked = {"files": {"photo": b"no picture"}, "data": {"options": json.dumps(options)}}
    answer = httpx.post(f"{address}/v1/faces", headers=TOLD, **asked)
    problem = Problem.model_validate(answer.json())
    assert (answer.status_code, problem.code) in ((400, "options"), (422, "photo"))
    assert problem.code == "photo" or problem.subject in options


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            httpx.Response(301, headers={"location": "https://there/"}),
            "was 301; use the address it names: https://there/",
        ),
        (httpx.Response(200, text="<html>Log in to this network</html>"), "What answered is no server of faceref"),
    ],
)
def test_an_answer_of_something_else_is_no_success(answer, says):
    client = Client(http=httpx.Client(base_url="http://here", transport=httpx.MockTransport(lambda _: answer)))
    asking = (client.people, lambda: client.job("a"), lambda: client.result("a"), lambda: list(client.follow("a")))
    for ask in (*asking, lambda: client.remove("Eileen"), lambda: client.face("Eileen", 1)):
        with pytest.raises(ServerError, match=says) as told:
            ask()
        assert told.value.status == answer.status_code


@pytest.mark.parametrize(("timeout", "waits"), [(5, SILENT), (2000, 2000), (None, None)])
def test_who_enrolls_or_looks_for_faces_waits_longer_for_a_sign_of_life(timeout, waits):
    waited = {}

    def answer(request: httpx.Request) -> httpx.Response:
        waited[f"{request.method} {request.url.path}"] = request.extensions["timeout"]["read"]
        return httpx.Response(500)

    http = httpx.Client(base_url="http://here", timeout=timeout, transport=httpx.MockTransport(answer))
    with Client(http=http) as client:
        looking = (lambda: client.enroll("Ada", b""), lambda: client.add("Ada", b""), lambda: client.faces(b""))
        results = (lambda: client.result("b", strength=0.5), lambda: client.result("a"))
        for ask in (*looking, *results, client.people):
            with pytest.raises(ServerError, match="The answer was 500"):
                ask()
    in_turn = ("POST /v1/people", "POST /v1/people/Ada/photos", "POST /v1/faces", "GET /v1/jobs/b/result")
    others = dict.fromkeys(("GET /v1/people", "GET /v1/jobs/a/result"), timeout)
    assert waited == dict.fromkeys(in_turn, waits) | others


def test_the_description_says_what_answers_and_options_there_are(address):
    described = httpx.get(f"{address}/openapi.json").json()

    def answer(path: str, method: str, status: str) -> dict:
        return described["paths"][path][method]["responses"][status]

    assert "text/event-stream" in answer("/v1/jobs/{id}/events", "get", "200")["content"]
    assert "Location" in answer("/v1/restore", "post", "202")["headers"]
    for path, method in (("/v1/restore", "post"), ("/v1/jobs/{id}/result", "get")):
        assert "Content-Location" in answer(path, method, "200")["headers"]
        assert {"Content-Location", "Retry-After"} == set(answer(path, method, "4XX")["headers"])
    assert "Retry-After" in answer("/v1/faces", "post", "4XX")["headers"]
    problem = {"$ref": "#/components/schemas/Problem"}
    for path, status in (("/readyz", "503"), ("/metrics", "401")):
        assert answer(path, "get", status)["content"]["application/json"]["schema"] == problem
    assert described["paths"]["/metrics"]["get"]["security"]
    options = {"$ref": "#/components/schemas/RestoreOptions", "components": described["components"]}
    valid = jsonschema_rs.validator_for(options).is_valid
    for strength in (0.5, {"1": 0.5}, "1:0.5,3:1", None):
        assert valid({"strength": strength})
        RestoreOptions.model_validate({"strength": strength})
    assert not valid({"strength": 2})
    assert not valid({"strength": [1]})
