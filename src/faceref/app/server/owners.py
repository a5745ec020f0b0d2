"""Whose request it is: each token has jobs and people of its own; without tokens all is this computer's user's."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from faceref.app.server.errors import RefusedError
from faceref.people.album_index import AlbumIndex
from faceref.people.library import Library

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LOCAL_USER = "local"


class Owners:
    """The tokens that are let in, by their digests, and the folders that belong to them."""

    def __init__(self, tokens: Sequence[str], data_dir: Path | None) -> None:
        """data_dir: by default the user's own, so that the page and the command know the same people."""
        self.data_dir = data_dir
        self.folder = data_dir or platformdirs.user_data_path("faceref")
        self._digests = [_digest(token) for token in tokens]

    def of(self, headers: Mapping[str, str]) -> str:
        """Raises RefusedError for a missing or wrong token; without tokens for what another web site has sent."""
        if not self._digests:
            _check_local(headers)
            return _LOCAL_USER
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip())
        # all are compared, so that the time tells nothing
        found = [digest for digest in self._digests if hmac.compare_digest(digest, given)]
        if scheme.lower() != "bearer" or not found:
            raise RefusedError(
                401,
                "no_token",
                "The token is missing or wrong",
                hint="send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found[0]

    def library(self, owner: str) -> Library:
        return Library(self.folder if owner == _LOCAL_USER else self.folder / "tokens" / owner)

    def forget(self, owner: str, name: str) -> None:
        """Remove a person; also what this computer's user has had seen in albums, where they may be.

        Raises UsageError if unknown.
        """
        self.library(owner).remove(name)
        if owner == _LOCAL_USER:
            AlbumIndex(self.data_dir).clear()

    @property
    def jobs_folder(self) -> Path:
        return self.folder / "server"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _check_local(headers: Mapping[str, str]) -> None:
    """A page from elsewhere could make the browser send requests here, under its own name (DNS rebinding) or ours."""
    host = headers.get("host", "")
    origin = headers.get("origin")
    elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")  # pictures are asked for without origin
    if elsewhere or _hostname(f"//{host}") not in LOOPBACK or (origin is not None and origin != f"http://{host}"):
        raise RefusedError(
            403, "not_local", "The request is not from this computer's own page", hint="use http://127.0.0.1, or tokens"
        )


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
