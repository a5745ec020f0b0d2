"""Models on Hugging Face's hub: by the name org/name, and what comes of one is safetensors and JSON only.

What was fetched stays in the hub's own cache folder, and is used where the hub cannot be reached (or HF_HUB_OFFLINE).
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from faceref.errors import CheckpointError, FacerefError, OutputError, UsageError
from faceref.files import cannot_be_written

PATTERNS = ("*.json", "*.safetensors", "README.md")  # of the files of a model
_NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")
_REFUSED = (401, 403)


@dataclass(frozen=True)
class HubName:
    """A repository, and which of its states: a branch, a tag or a commit; None: what is newest."""

    repository: str
    revision: str | None = None

    @property
    def organisation(self) -> str:
        """Or the user that it is of."""
        return self.repository.partition("/")[0]

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """org/name or org/name@revision; None for anything else."""
        found = _NAME.fullmatch(text)
        return None if found is None else cls(found["repository"], found["revision"])


def fetch_model(name: HubName, token: str | None = None) -> Path:
    """The folder of a model of the hub in the hub's cache; fetched as far as it is not there.

    token: of somebody who may read it; None: the one that this computer is logged in with (or HF_TOKEN).
    Raises UsageError if there is no such repository or state of it, or it may not be read; CheckpointError if it is no
    model of ours; OutputError if it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download, snapshot_download  # here: it takes a second

    state: dict[str, Any] = {"revision": name.revision, "token": token, "endpoint": endpoint()}
    with told_of(name):
        hf_hub_download(name.repository, "faceref.json", **state)
        return Path(snapshot_download(name.repository, allow_patterns=list(PATTERNS), **state))


def endpoint() -> str | None:
    """Where the hub is: $HF_ENDPOINT, huggingface.co if that is not set (None)."""
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def told_of(name: HubName) -> Iterator[None]:
    """What goes wrong with the hub, as an error of ours about `name`."""
    try:
        yield
    except FacerefError:
        raise
    except Exception as error:  # the client has its own errors and lets those of two HTTP libraries through
        raise _translated(name, error) from error


def _translated(name: HubName, error: Exception) -> FacerefError:
    from huggingface_hub import errors

    about = f"The model {name.repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return cannot_be_written(Path(getattr(error, "filename", None) or "The hub's cache folder"), error)
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"{about} has no revision {name.revision}", hint="name a branch, a tag or a commit of it")
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        hint = "name one that was made with faceref models push"
        return CheckpointError(f"{about} is none of faceref: it has no faceref.json", hint=hint)
    if status in _REFUSED or isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(
            f"There is no model {name.repository} on the hub, or it may not be read with this token",
            hint="look at its name, and log in with hf auth login (or set HF_TOKEN) if it is private or gated",
            code="hub_refuses",
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return OutputError(
        f"{about} cannot be reached on the hub, and there is no copy of it here ({reason})",
        hint="try again later, or give the folder of a model",
        code="hub_not_reached",
    )
