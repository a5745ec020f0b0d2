"""Which licences of others' models and data were agreed to, and when: asked for once for each of their versions."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faceref.errors import UsageError
from faceref.files import write_atomically

FILE = "accepted_licences.json"


@dataclass(frozen=True)
class Licensed:
    """A release that others host, and the terms that whoever downloads it agrees to, in two sentences."""

    name: str
    version: str
    terms: str

    @property
    def key(self) -> str:
        return f"{self.name} {self.version}"


def accepted_on(what: Licensed, home: Path) -> str | None:
    """The day on which these terms of this version were agreed to, as 2026-11-26; None if they were not."""
    entry = _read(home).get(what.key)
    return entry["on"] if entry and entry["terms"] == what.terms else None


def accept(what: Licensed, home: Path) -> None:
    """Remember in the folder `home` that the terms were agreed to today. Raises OutputError if it cannot be written."""
    known = _read(home) | {what.key: {"on": datetime.now(UTC).date().isoformat(), "terms": what.terms}}
    with write_atomically(home / FILE) as temporary:
        temporary.write_text(json.dumps(known, indent=2) + "\n")


def check_accepted(what: Licensed, home: Path) -> None:
    """Raise UsageError, which has the terms, unless they were agreed to."""
    if accepted_on(what, home) is None:
        raise UsageError(what.terms.removesuffix("."), hint="pass accept_licence=True if you agree", code="licence")


def _read(home: Path) -> dict[str, dict[str, str]]:
    """What was agreed to; nothing where the file is missing or damaged, so that it is asked again."""
    try:
        known = json.loads((home / FILE).read_bytes())
        return {str(key): {"on": str(entry["on"]), "terms": str(entry["terms"])} for key, entry in known.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
