"""The authors' checkpoints of ReF-LDM, fetched from their release page or a mirror, checked, and imported.

By hand over urllib (proxies as the environment sets them), since pooch neither goes on where a download broke off nor
leaves a part of it to go on from; these files have 2 GB.
"""

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError

from faceref.checkpoints.original import ImportSummary, import_refldm
from faceref.errors import CheckpointError, OutputError, UsageError
from faceref.files import cannot_be_written

REFLDM_RELEASE = "https://github.com/ChiWeiHsiao/ref-ldm/releases/download/1.0.0"
REFLDM_LICENCE = (
    "refldm-512 is the work of the authors of ReF-LDM (https://github.com/ChiWeiHsiao/ref-ldm) and free for "
    "non-commercial research only. Whoever downloads it agrees to that."
)
# As another public program lists them; we have not been able to compare them with the files.
REFLDM_SHA256 = {
    "refldm.ckpt": "ad953ba72b52ed32dd280232ff0070bc6cb097a71dce250318730c884e38b778",
    "vqgan.ckpt": "7b08407b454f5328aaaf1eda35418a5a53dcc68caaf3bcf12ab88b8f21ec1a5d",
}

Progress = Callable[[str, int, int], None]  # name of the file, bytes that are here, bytes in all
CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


def download_refldm(
    folder: Path,
    source: str = REFLDM_RELEASE,
    *,
    accept_licence: bool,
    sha256: Mapping[str, str] = REFLDM_SHA256,
    resolution: int = 512,
    on_progress: Progress | None = None,
) -> ImportSummary:
    """Import refldm.ckpt and vqgan.ckpt of `source` into the new model folder; the import alone is kept.

    source: a URL or a folder that has both. sha256: their digests, by name. A download that breaks off is gone on with
    the next time; until then it lies in `folder` with the ending .download.

    Raises UsageError without accept_licence (the user agrees to `REFLDM_LICENCE`), OutputError if the download or the
    disk fails, CheckpointError if what came is not what it should be.
    """
    if not accept_licence:
        raise UsageError(REFLDM_LICENCE.removesuffix("."), hint="pass accept_licence=True if you agree", code="licence")
    if folder.exists():
        raise OutputError("exists already", subject=folder, hint="remove it to download the model again")
    downloads = folder.with_name(f"{folder.name}.download")
    if Path(source).is_dir():
        paths = [Path(source) / name for name in REFLDM_SHA256]
        for path in paths:
            check_sha256(path, sha256[path.name])
    else:
        paths = [fetch(f"{source}/{name}", downloads / name, sha256[name], on_progress) for name in REFLDM_SHA256]
    summary = import_refldm(paths[0], paths[1], folder, resolution)
    shutil.rmtree(downloads, ignore_errors=True)
    return summary


def fetch(url: str, path: Path, sha256: str, on_progress: Progress | None = None) -> Path:
    """Download a file; what an earlier call got of it, `path` with the ending .part, is not fetched again.

    Raises OutputError if it does not come whole or has nowhere to go, CheckpointError if it is another file.
    """
    if path.is_file():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise cannot_be_written(path, error) from error
    try:
        _continue(url, part, on_progress)
    except HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # there is nothing behind the part: it is whole
            raise _not_downloaded(url, f"the server answers {error.code} {error.reason}") from error
    except (OSError, ValueError, HTTPException) as error:  # urllib's errors are OSErrors; a bad URL is a ValueError
        raise _not_downloaded(url, str(error)) from error
    try:
        check_sha256(part, sha256)
    except CheckpointError:
        part.unlink()
        raise
    os.replace(part, path)
    return path


def _continue(url: str, part: Path, on_progress: Progress | None) -> None:
    """Fetch what `part` lacks; urllib's errors, and OutputError where a web page comes or fewer bytes than promised."""
    have = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            raise _not_downloaded(url, "a web page came in its place, as from a proxy or a mirror that wants a login")
        if have and getattr(response, "status", None) != HTTPStatus.PARTIAL_CONTENT:
            have = 0  # a server that cannot go on begins anew
        total = have + int(response.headers.get("Content-Length") or 0)
        _check_room(part, total - have)
        with part.open("r+b") as file:
            file.truncate(have)
            file.seek(have)
            while chunk := response.read(CHUNK):
                _write(file, chunk, part)
                have += len(chunk)
                if on_progress is not None:
                    on_progress(part.stem, have, max(total, have))
    if have < total:
        raise _not_downloaded(url, f"it broke off after {have} of {total} bytes")


def check_sha256(path: Path, expected: str) -> None:
    """Raise CheckpointError if a file is missing or has another digest."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError("cannot be read", subject=path, hint="give a folder that has the file") from error
    if found != expected.lower():
        raise CheckpointError(
            f"is not the file that was expected: its SHA-256 is {found}, not {expected}",
            subject=path,
            hint="download it again, or give this digest if you trust the file",
            code="wrong_digest",
        )


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
            hint="free some space or choose another folder (FACEREF_HOME)",
        )


def _not_downloaded(url: str, reason: str) -> OutputError:
    return OutputError(
        f"could not be downloaded ({reason})",
        subject=url,
        hint="try again later, it goes on where it broke off; or get the files elsewhere and name their folder",
        code="not_downloaded",
    )
