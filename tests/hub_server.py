"""A stand-in for Hugging Face's hub on this machine: repositories in memory, and faults as asked for."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlparse

from local_server import local_server

TOKEN = "hf_of_the_owner"


class Hub:
    """repositories: name -> state (branch, tag or commit) -> path -> content.

    private: names that only `TOKEN` may read. fault: html (a proxy's page for everything), half (of each file).
    """

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.fault: str | None = None
        self.asked: list[str] = []

    def add(self, name: str, files: dict[str, bytes], state: str = "main") -> None:
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        states = self.repositories.setdefault(name, {})
        states[state] = states[commit] = files

    def commit_of(self, name: str, state: str) -> str:
        states = self.repositories[name]
        return next(key for key, files in states.items() if len(key) == 40 and files is states[state])


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    with local_server(_handler(hub)) as hub.url:
        yield hub


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlparse(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            if hub.fault == "html":
                return self.answer(200, b"<html>Log in to the proxy</html>", {"Content-Type": "text/html"})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
                name, what, state = found.groups()
                if files := self.files(name, state):
                    self.answer_json(_description(hub, name, state, files)[what])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                name, state, file = found.groups()
                if files := self.files(name, state):
                    self.file(name, state, files.get(file))
            else:
                self.answer(404)
            return None

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self) -> None:
            path = unquote(urlparse(self.path).path)
            hub.asked.append(f"POST {path}")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.answer(401, json.dumps({"error": "Invalid username or password."}).encode())
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                hub.repositories.setdefault(name, {"main": {}})
                if asked.get("private") or asked.get("visibility") == "private":  # as older clients say it, and newer
                    hub.private.add(name)
                return self.answer_json({"url": f"{hub.url}/{name}"})
            if path == "/api/validate-yaml":
                return self.answer_json({"errors": [], "warnings": []})
            if "/preupload/" in path:
                files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
                return self.answer_json({"files": [one | {"shouldIgnore": False} for one in files]})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
                lines = [json.loads(line) for line in body.splitlines()]
                added = [line["value"] for line in lines if line["key"] == "file"]
                hub.add(found[1], {one["path"]: base64.b64decode(one["content"]) for one in added}, found[2])
                commit = hub.commit_of(found[1], found[2])
                url = f"{hub.url}/{found[1]}/commit/{commit}"
                return self.answer_json({"commitUrl": url, "commitOid": commit, "success": True, "hookOutput": ""})
            return self.answer(404)

        def files(self, name: str, state: str) -> dict[str, bytes] | None:
            """What is there and may be read; the refusal is answered."""
            allowed = name not in hub.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if name not in hub.repositories or not allowed:
                self.answer(401, headers={"X-Error-Code": "RepoNotFound"})
            elif state not in hub.repositories[name]:
                self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
            else:
                return hub.repositories[name][state]
            return None

        def file(self, name: str, state: str, content: bytes | None) -> None:
            commit = {"X-Repo-Commit": hub.commit_of(name, state)}
            if content is None:
                return self.answer(404, headers=commit | {"X-Error-Code": "EntryNotFound"})
            headers = commit | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
            half = hub.fault == "half" and self.command == "GET"
            return self.answer(200, content[: len(content) // 2] if half else content, headers, len(content))

        def answer_json(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def answer(
            self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _description(hub: Hub, name: str, state: str, files: dict[str, bytes]) -> dict[str, object]:
    """What the API says of a state of a repository, and of its files."""
    names = [{"rfilename": path} for path in files]
    tree = [
        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for path, content in files.items()
    ]
    return {"revision": {"id": name, "sha": hub.commit_of(name, state), "siblings": names}, "tree": tree}
