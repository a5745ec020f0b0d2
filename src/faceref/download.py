"""One large file from a release page or a mirror: gone on with where it broke off, checked, whole or not there.

By hand over urllib (proxies as the environment sets them), since pooch neither goes on where a download broke off nor
leaves a part of it to go on from; these files have up to 2 GB.
"""

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError

from faceref.errors import CheckpointError, OutputError
from faceref.files import cannot_be_written

Progress = Callable[[str, int, int], None]  # name of the file, bytes that are here, bytes in all
CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


@dataclass(frozen=True)
class Expected:
    """What is known of a file that others host.

    sha256: its digest, hexadecimal; size: in bytes; None: not known, and not checked.
    """

    sha256: str | None = None
    size: int | None = None


def obtain(
    name: str, source: str, downloads: Path, expected: Expected, on_progress: Progress = lambda *_: None
) -> Path:
    """The checked file `name` of `source`, a folder or the URL of one; what is downloaded lies in `downloads`.

    Raises OutputError or CheckpointError as `fetch`.
    """
    if not Path(source).is_dir():
        return fetch(f"{source}/{name}", downloads / name, expected, on_progress)
    path = Path(source) / name
    check(path, expected)
    return path


def fetch(url: str, path: Path, expected: Expected, on_progress: Progress = lambda *_: None) -> Path:
    """Download a file; what an earlier call got of it, `path` with the ending .part, is not fetched again.

    That is, if it is of the file that the server has now, which is asked by what tells that from others (beside it,
    with the ending .part.version), or if the whole is checked by its digest, wherever its parts are from.

    Raises OutputError if it does not come whole or has nowhere to go, CheckpointError if it is another file.
    """
    if path.is_file():
        if expected != Expected():
            check(path, expected)
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise cannot_be_written(path, error) from error
    try:
        _continue(url, part, expected.sha256 is not None, on_progress)
    except HTTPError as error:
        error.close()  # it is the server's answer, too, and holds the connection
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _not_downloaded(url, f"the server answers {error.code} {error.reason}") from error
        # there is nothing behind the part: it is whole, or of another file
        if expected.sha256 is None and error.headers.get("Content-Range") != f"bytes */{part.stat().st_size}":
            part.unlink()
            return fetch(url, path, expected, on_progress)
    except (OSError, ValueError, HTTPException) as error:  # urllib's errors are OSErrors; a bad URL is a ValueError
        raise _not_downloaded(url, str(error)) from error
    try:
        check(part, expected)
    except CheckpointError:
        part.unlink()
        raise
    finally:
        _version_file(part).unlink(missing_ok=True)
    os.replace(part, path)
    return path


def sha256_of(path: Path) -> str:
    """The digest of a file, hexadecimal. Raises CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError("cannot be read", subject=path, hint="give a folder that has the file") from error


def check(path: Path, expected: Expected) -> None:
    """Raise CheckpointError if a file is missing or is not what is known of it."""
    found = sha256_of(path)
    if expected.sha256 is not None and found != expected.sha256.lower():
        raise CheckpointError(
            f"is not the file that was expected: its SHA-256 is {found}, not {expected.sha256}",
            subject=path,
            hint="download it again, or give this digest if you trust the file",
            code="wrong_digest",
        )
    size = path.stat().st_size
    if expected.sha256 is None and expected.size is not None and size != expected.size:
        raise CheckpointError(
            f"is not the file that was expected: it has {size} bytes, not {expected.size}",
            subject=path,
            hint=f"download it again, or give its digest ({found}) if you trust the file",
            code="wrong_digest",
        )


def _continue(url: str, part: Path, is_checked: bool, on_progress: Progress) -> None:
    """Fetch what `part` lacks; urllib's errors, and OutputError where a web page comes or fewer bytes than promised.

    is_checked: bytes of another file are found out when it is whole.
    """
    known = "" if is_checked or not _version_file(part).is_file() else _version_file(part).read_text()
    have = part.stat().st_size if known or is_checked else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and known:
        headers["If-Range"] = known
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            raise _not_downloaded(url, "a web page came in its place, as from a proxy or a mirror that wants a login")
        version = _version(response.headers)
        if have and getattr(response, "status", None) != HTTPStatus.PARTIAL_CONTENT:
            have = 0  # a server that cannot go on, or has another file by now, begins anew
        if have and known and version not in ("", known):  # it has another file by now, and does not know If-Range
            _note(part, "")
            return _continue(url, part, is_checked, on_progress)
        if not have:
            _note(part, version)
        total = have + int(response.headers.get("Content-Length") or 0)
        _check_room(part, total - have)
        with part.open("r+b") as file:
            file.truncate(have)
            file.seek(have)
            while chunk := response.read(CHUNK):
                _write(file, chunk, part)
                have += len(chunk)
                on_progress(part.stem, have, max(total, have))
    if have < total:
        raise _not_downloaded(url, f"it broke off after {have} of {total} bytes")
    return None


def _version(headers: Message) -> str:
    """What tells the file from others that the server has had in its place (RFC 9110, If-Range); "": nothing does."""
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _note(part: Path, version: str) -> None:
    """Begin a file anew: its first bytes come after what they are of, so that a kill leaves none of another one."""
    try:
        part.write_bytes(b"")
        _version_file(part).write_text(version)
    except OSError as error:
        raise cannot_be_written(part, error) from error


def _write(file: BinaryIO, chunk: bytes, path: Path) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise cannot_be_written(path, error) from error


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(
            f"needs {needed / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB left",
            subject=path,
            hint="free some space or choose another folder",
            code="no_room",
        )


def _not_downloaded(url: str, reason: str) -> OutputError:
    return OutputError(
        f"could not be downloaded ({reason})",
        subject=url,
        hint="try again later, it goes on where it broke off; or get the files elsewhere and name their folder",
        code="not_downloaded",
    )
