"""Files and folders that appear whole or not at all."""

import errno
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from faceref.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}(\.\w+)?")  # the names that write_atomically gives


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` to write to; it becomes `path` if the block ends well, else it is removed.

    Folders on the way are made. Raises OutputError where the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.parent / f".{uuid.uuid4().hex}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in its own way
        raise cannot_be_written(path, error) from error
    finally:
        with suppress(OSError):  # renamed, never made, or in a folder that was none
            temporary.unlink()


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Size and time of change (ns) of a file, by which a changed one is known; None for what is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def check_writable(path: Path) -> None:
    """Raise OutputError now, as `write_atomically` would after long work, if `path` cannot be written."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise cannot_be_written(path, error) from error


def lock(file: IO[Any], folder: Path, patience: float = 0) -> bool:
    """Whether this process alone has the folder, by an open file in it, for as long as that is open.

    patience: seconds that another process may take to end. False where the file system knows no locks. Raises
    OutputError (code "in_use") if another process has it.
    """
    if fcntl is None:
        return False
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                raise OutputError(
                    "is being written by another process", subject=folder, hint="wait for its end", code="in_use"
                ) from None
            time.sleep(0.2)
        except OSError:
            return False


def remove_leftovers(folder: Path) -> None:
    """Remove what a `write_atomically` that was killed has left below `folder`, where nobody else may be writing."""
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def check_new(folder: str | Path) -> None:
    """Raise OutputError now, as `new_folder` would after long work, if `folder` exists already (an empty one may)."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError("exists already", subject=folder, hint="choose another name or remove it")


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it becomes `folder` if the block ends well, else it is removed.

    Raises OutputError if `folder` exists already (an empty one may), cannot be written, or the disk is full.
    """
    folder = Path(folder)
    check_new(folder)
    with _scratch_beside(folder) as scratch:
        yield scratch
        _make_readable(scratch)
        os.replace(scratch, folder)


@contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """As `new_folder`, for a folder that may exist: it is the old one until the new one is whole."""
    folder = Path(folder)
    with _scratch_beside(folder) as scratch:
        yield scratch
        _make_readable(scratch)
        old = scratch.with_name("old")
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(scratch, folder)
        except BaseException:  # Ctrl-C, too
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            raise


@contextmanager
def _scratch_beside(folder: Path) -> Iterator[Path]:
    """A folder within a hidden one beside `folder`, so that a rename suffices."""
    around: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        around = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        scratch = around / "new"
        scratch.mkdir()
        yield scratch
    except (OSError, SafetensorError) as error:
        raise cannot_be_written(folder, error) from error
    finally:
        if around is not None:
            shutil.rmtree(around, ignore_errors=True)


def _make_readable(folder: Path) -> None:
    """Let everybody who may read the folder read its weights: safetensors makes files for their owner alone."""
    for path in folder.rglob("*.safetensors"):
        path.chmod(folder.stat().st_mode & 0o666)


def cannot_be_written(path: Path, error: BaseException) -> OutputError:
    """What the system refused, as an OutputError about `path`."""
    reason, hint = f"cannot be written ({getattr(error, 'strerror', None) or error})", "choose another name or folder"
    said = re.search(r"\(os error (\d+)\)", str(error))  # by safetensors
    match int(said[1]) if said else getattr(error, "errno", None):
        case errno.ENOSPC | errno.EDQUOT:
            reason = "cannot be written because the disk is full"
            hint = "free some space or choose another folder"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            reason, hint = f"cannot be written because {path.parent} is not writable", "choose another folder"
        case errno.EISDIR:
            reason, hint = "is a folder", "name the file to write"
        case errno.ENOTDIR | errno.EEXIST:
            reason, hint = "cannot be written because a part of its path is a file", "choose another folder"
    return OutputError(reason, subject=path, hint=hint)
