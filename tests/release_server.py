"""A release page on this machine whose server misbehaves as asked."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

from local_server import local_server

GOLDEN = Path(__file__).parent / "golden" / "refldm-mini"
SHA256 = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(GOLDEN.glob("*.ckpt"))}


class Release:
    """breaks_off: after so many bytes of a file, once. fault: html, missing, other, no_range, no_if_range, short (of a
    file that it says to be shorter than it is) or slow (silent after the first half, until `patience` is set).
    versions: the headers that tell a file from what was in its place before.
    """

    def __init__(self) -> None:
        self.url = ""
        self.breaks_off: int | None = None
        self.fault: str | None = None
        self.versions = {"ETag": '"first"'}
        self.patience = Event()
        self.ranges: list[tuple[str, str | None]] = []  # asked for


@contextmanager
def release_server(folder: Path = GOLDEN) -> Iterator[Release]:
    """Serves the files of a folder."""
    release = Release()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = Path(self.path).name
            asked = self.headers.get("Range")
            release.ranges.append((name, asked))
            if release.fault == "missing":
                return self.send_error(404)
            content = (folder / name).read_bytes()
            if release.fault == "other":
                content = content[:-1] + b"?"
            same = self.headers.get("If-Range") in (None, *release.versions.values()) or release.fault == "no_if_range"
            goes_on = asked is not None and same and release.fault != "no_range"
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and goes_on else 0
            if begin >= len(content):
                return self.send_error(416)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Type", "text/html" if release.fault == "html" else "application/octet-stream")
            self.send_header("Content-Length", str(len(content) - begin - (10 if release.fault == "short" else 0)))
            for header, value in release.versions.items():
                self.send_header(header, value)
            self.end_headers()
            end = None if release.breaks_off is None else begin + release.breaks_off
            release.breaks_off = None
            if release.fault == "slow":
                self.wfile.write(content[begin : len(content) // 2])
                self.wfile.flush()
                release.patience.wait(10)
                self.close_connection = True
                return None
            self.wfile.write(content[begin:end])
            self.close_connection = True
            return None

        def log_message(self, format: str, *args: object) -> None:
            pass

    with local_server(Handler) as release.url:
        yield release
