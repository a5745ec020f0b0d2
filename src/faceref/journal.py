"""Claim a folder for given settings, remember what is done there, and go on after any end, kill -9 included.

The journal is a file of JSON lines that only grows: one holds the settings, each that follows the outcome of an item.
Settings that nothing was done with yet are only begun: what was done before them stands until then.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any

from faceref.errors import OutputError, UsageError
from faceref.files import cannot_be_written, lock, remove_leftovers

NAMED = 3  # settings that a refusal names
LONGEST = 60  # characters of a setting that it shows


class Journal:
    """What was done in a folder.

    done: key of an item -> its last outcome, as JSON has it; earlier: the same, whatever the settings were; written:
    name of a file -> the digests of all that was ever written there (`note_writing`).
    """

    def __init__(
        self, path: Path, file: FileIO, done: dict[str, Any], earlier: dict[str, Any], written: dict[str, set[str]]
    ) -> None:
        self.path, self.done, self.earlier, self.written = path, done, earlier, written
        self._file = file

    def record(self, key: str, outcome: Any) -> None:
        """Remember what became of an item, at once; files that belong to it are to be written before.

        outcome: anything that JSON can hold. Raises OutputError if the disk is full.
        """
        _append(self._file, self.path, {"item": key, "outcome": outcome})
        self.done[key] = outcome


@contextmanager
def claim(path: str | Path, settings: Mapping[str, Any], *, again: bool = False) -> Iterator[Journal]:
    """Open the journal `path`, made if there is none: until the end its folder belongs to this process.

    settings: all that the outcomes depend on, as JSON can hold it; again: they take the place of those before, and what
    was done does not count, nor does it when the same are claimed next; those before may be claimed until something
    was done with them. Temporary files that a killed process has left below the folder are removed. Raises UsageError
    (code "other_settings") naming what differs if the folder was made with others; OutputError if the file cannot be
    written or is none of ours, or if another process has claimed the folder (code "in_use").
    """
    path = Path(path)
    settings = json.loads(json.dumps(settings))  # tuples are lists there
    with _opened(path) as file:
        alone = lock(file, path.parent)
        read = _read(path, _whole_lines(file))
        if again or (read.settings is None and read.begun != settings):  # those that are only begun bind nobody
            read.done = {}
            _append(file, path, {"settings": settings})
        elif read.begun == settings:
            read.done = {}
        else:
            _check_same(path, read.settings, settings)
            if read.begun is not None:
                _append(file, path, {"settings": settings, "kept": True})
        if alone:
            remove_leftovers(path.parent)
        yield Journal(path, file, read.done, read.earlier, read.written)


def note_writing(path: Path, name: str, digest: str) -> None:
    """Note in the journal `path`, which another process may have claimed, what is about to be written to a file.

    So that it is known as ours whatever happens next. Raises OutputError.
    """
    with _opened(path) as file:
        _append(file, path, {"writing": name, "digest": digest})


def fingerprint(*values: Any) -> str:
    """16 hexadecimal digits that tell values of JSON apart: the key of an item that depends on its own settings."""
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _opened(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b", buffering=0)  # a line is one call of the system: written, or not
    except OSError as error:
        raise cannot_be_written(path, error) from error


def _whole_lines(file: FileIO) -> list[bytes]:
    """The lines of a journal; one that a crash or a full disk has cut off is taken away."""
    file.seek(0)
    content = file.readall() or b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        file.truncate(len(whole))
    return whole.splitlines()


def _append(file: FileIO, path: Path, line: dict[str, Any]) -> None:
    content = json.dumps(line).encode() + b"\n"
    try:
        while content:  # a disk that fills up takes a part of it, and refuses the rest
            content = content[file.write(content) :]
    except OSError as error:
        raise cannot_be_written(path, error) from error


@dataclass
class _Read:
    """What a journal says.

    settings, done: those that something was done with last, None for nothing, and what, key -> outcome; begun: settings
    claimed since, with which nothing was done; earlier, written: see `Journal`.
    """

    settings: Any = None
    begun: Any = None
    done: dict[str, Any] = field(default_factory=dict)
    earlier: dict[str, Any] = field(default_factory=dict)
    written: dict[str, set[str]] = field(default_factory=dict)


def _read(path: Path, lines: list[bytes]) -> _Read:
    """A line that a power cut has garbled is passed over, so that its item is done again."""
    read = _Read()
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
            if "settings" in entry:
                read.begun = None if "kept" in entry else entry["settings"]
                continue
            if read.begun is not None:  # from here on something is done with them
                read.settings, read.begun, read.done = read.begun, None, {}
            if "writing" in entry:
                read.written.setdefault(entry["writing"], set()).add(entry["digest"])
            else:
                read.done[entry["item"]] = read.earlier[entry["item"]] = entry["outcome"]
        except (ValueError, KeyError, TypeError):
            if number == 0:
                raise OutputError("is no journal of this version", subject=path, hint="choose another folder") from None
    return read


def _check_same(path: Path, before: Any, settings: Mapping[str, Any]) -> None:
    was, now = dict(_leaves(before)), dict(_leaves(settings))
    different = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if not different:
        return
    named = [f"{name} {_difference(was.get(name), now.get(name))}" for name in different[:NAMED]]
    more = f"; {len(different) - NAMED} more" if len(different) > NAMED else ""
    raise UsageError(
        f"was made with other settings ({'; '.join(named)}{more})",
        subject=path.parent,
        hint="choose another folder, or those settings",
        code="other_settings",
    )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The settings within settings, named as in "models.small.steps", and "conditions.2.count" of the second."""
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        value = {str(number): inner for number, inner in enumerate(value, start=1)}
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _difference(was: Any, now: Any) -> str:
    if was is None:
        return f"not given, now {_shown(now)}"
    return f"{_shown(was)}, " + ("now not given" if now is None else f"not {_shown(now)}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
