"""Damaged pictures, bombs and nonsense for a server: no failure, nothing that hangs, no memory that stays.

python benchmarks/server_attack.py --pictures 5000 --examples 50
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import numpy as np
import schemathesis
import skimage.data
from damaged import bombs, damaged, other_files, pictures
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_process import Served, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ROUTES = ("/v1/faces", "/v1/restore", "/v1/preview", "/v1/people")
WARM = 500  # pictures after which memory is first looked at
TOKEN = "token-of-the-attacker"
TOLD = {"Authorization": f"Bearer {TOKEN}", "Prefer": "wait=60"}
NOT_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
LIMITS = ("--limit=kept=100000", "--limit=wait_seconds=60")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small", help="small, refldm-512 or a model folder")
    parser.add_argument("--pictures", type=int, default=5000, help="damaged ones")
    parser.add_argument("--examples", type=int, default=50, help="requests of each operation, made by schemathesis")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with served(arguments.model, Path(folder) / "kept", *LIMITS, tokens=[TOKEN], log=log) as server:
            send_pictures(server, arguments.pictures, np.random.default_rng(arguments.seed))
            follow_the_description(server, arguments.examples)
        said = log.read_text().splitlines()
    unexpected = [line for line in said if not line.startswith(("{", "http://")) and "faceref.app.server" not in line]
    assert not any("Traceback" in line or "failed with" in line for line in said), unexpected
    print(f"{len(said)} lines in the log, no traceback")


def send_pictures(server: Served, count: int, rng: np.random.Generator) -> None:
    """Damaged pictures by turns to all routes that take one, then every bomb and other file to each."""
    wall = Image.fromarray(skimage.data.astronaut()).crop((0, 0, 24, 24))  # without a face
    files, statuses, seconds, memory = pictures(wall), Counter(), [], 0
    with httpx.Client(base_url=server.address, headers=TOLD, timeout=120) as http:

        def send(data: bytes, route: str) -> None:
            began = time.monotonic()
            field = "photos" if route == "/v1/people" else "photo"
            answer = http.post(route, files={field: data}, data={"name": str(rng.integers(10**9))})
            seconds.append(time.monotonic() - began)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (route, answer.text)
            assert answer.is_success or set(json.loads(answer.text)) == {"code", "subject", "reason", "hint"}

        for i in range(count):
            send(damaged(files[i % len(files)], rng), ROUTES[i // len(files) % len(ROUTES)])
            if i == min(WARM, count - 1):
                memory = server.memory
        grown = server.memory - memory
        print(f"{count} damaged pictures: {dict(statuses)}, the longest took {max(seconds):.1f} s", flush=True)
        print(f"memory after {WARM} of them {memory / 2**20:.0f} MiB, after all {grown / 2**20:+.0f} MiB", flush=True)
        for name, data in (bombs() | other_files()).items():
            for route in ROUTES:
                send(data, route)
            print(f"{name}: the longest took {max(seconds[-len(ROUTES) :]):.1f} s", flush=True)
        print(f"peak memory {server.peak_memory / 2**20:.0f} MiB")


def follow_the_description(server: Served, examples: int) -> None:
    """Requests for each operation of openapi.json, right ones and wrong ones; answers have to be as it says."""
    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    sent = Counter()
    for operation in (one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)):

        @settings(max_examples=examples, deadline=None, suppress_health_check=NOT_SLOW)
        @given(case=operation.as_strategy())
        def holds(case: schemathesis.Case) -> None:
            sent[case.call_and_validate(headers=TOLD | {"Prefer": "wait=1"}, checks=CHECKS).status_code] += 1

        holds()
    print(f"{sum(sent.values())} requests by schemathesis, all answered as openapi.json says: {dict(sent)}", flush=True)


if __name__ == "__main__":
    main()
