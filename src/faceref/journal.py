"""Claim a folder for given settings, remember what is done there, and go on after any end, kill -9 included.

The journal is a file of JSON lines that only grows: one holds the settings, each that follows the outcome of an item.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    was done does not count. Temporary files that a killed process has left below the folder are removed. Raises
    UsageError (code "other_settings") naming what differs if the folder was made with others; OutputError if the file
    cannot be written or is none of ours, or if another process has claimed the folder (code "in_use").
    """
    path = Path(path)
    settings = json.loads(json.dumps(settings))  # tuples are lists there
    with _opened(path) as file:
        alone = lock(file, path.parent)
        before, done, earlier, written = _read(path, _whole_lines(file))
        if again or (not done and before != settings):  # settings that nothing was done with bind nobody
            done = {}
            _append(file, path, {"settings": settings})
        else:
            _check_same(path, before, settings)
        if alone:
            remove_leftovers(path.parent)
        yield Journal(path, file, done, earlier, written)


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


def _read(path: Path, lines: list[bytes]) -> tuple[Any, dict[str, Any], dict[str, Any], dict[str, set[str]]]:
    """The last settings, what was done with them, key -> outcome, and with any; and what was written, name -> digests.

    A line that a power cut has garbled is passed over, so that its item is done again.
    """
    settings, done, earlier, written = None, {}, {}, {}
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
            if "settings" in entry:
                settings, done = entry["settings"], {}
            elif "writing" in entry:
                written.setdefault(entry["writing"], set()).add(entry["digest"])
            else:
                done[entry["item"]] = earlier[entry["item"]] = entry["outcome"]
        except (ValueError, KeyError, TypeError):
            if number == 0:
                raise OutputError("is no journal of this version", subject=path, hint="choose another folder") from None
    return settings, done, earlier, written


def _check_same(path: Path, before: Any, settings: Mapping[str, Any]) -> None:
    was, now = dict(_leaves(before)), dict(_leaves(settings))
    different = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if not different:
        return
    named = [f"{name} {_shown(was.get(name))}, not {_shown(now.get(name))}" for name in different[:NAMED]]
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


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
