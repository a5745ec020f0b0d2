"""What docs/server.md shows works: its lines for curl and Python against a running server, and its table of limits."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from documents import REPOSITORY, text_of
from PIL import Image
from serving import listening

from faceref.app.server.api import create_app
from faceref.app.server.limits import Limits

DOCUMENT = REPOSITORY / "docs" / "server.md"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def address(restorer, tmp_path, portrait, monkeypatch) -> Iterator[str]:
    """Where a server listens; the current folder has the photographs of the document."""
    (tmp_path / "good").mkdir()
    portrait.save(tmp_path / "old.jpg")
    portrait.save(tmp_path / "group.jpg")
    for name in ("a.jpg", "b.jpg"):
        portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(ord(name[0]) - 97).save(tmp_path / "good" / name)
    monkeypatch.chdir(tmp_path)
    app = create_app(restorer, data_dir=tmp_path / "kept")
    with listening(app) as address:
        yield address


@pytest.mark.skipif(shutil.which("curl") is None, reason="install curl to run this test")
def test_the_lines_for_curl_work(address):
    id = "ID"
    lines = re.findall(r"^    (curl .*)$", text_of(DOCUMENT), flags=re.MULTILINE)
    assert len(lines) > 12
    for line in lines:
        told = shlex.split(line.replace(ADDRESS, address).replace("/ID", f"/{id}"))
        done = subprocess.run([*told, "-sS", "--fail-with-body"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        if line.endswith("/v1/restore") and "wait" not in line:
            id = json.loads(done.stdout)["id"]
        if "-o restored.jpg" in line:
            with Image.open("restored.jpg") as restored:
                assert restored.format == "JPEG"


def test_the_lines_for_python_work(address, tmp_path, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    for _ in range(2):
        exec(compile(code.replace(ADDRESS, address), "server.md", "exec"), {})
    assert (tmp_path / "restored.jpg").exists()
    assert '"person": "Grandma"' in capsys.readouterr().out


def test_nginx_waits_longer_than_a_request_may_take():
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", DOCUMENT.read_text())
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", DOCUMENT.read_text())
    limits = Limits()
    assert int(seconds) > max(limits.seconds, limits.wait_seconds)
    assert int(megabytes) >= limits.megabytes


def test_the_table_of_limits_is_that_of_the_server():
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert {name: float(value) for name, value in told.items()} == Limits().model_dump()
