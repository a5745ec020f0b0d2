"""A restoration as it is asked for over HTTP: pictures as bytes, never a path; what is too large is refused unread."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from faceref.app.server.limits import Limits
from faceref.errors import PhotoError, UsageError
from faceref.people.person import Person, same_name
from faceref.pictures.decode import open_header
from faceref.restore.options import NAMED_BACKGROUNDS as NAMED
from faceref.restore.options import RestoreOptions

PHOTOGRAPH = "The photograph"  # how sentences call the one to be restored


@dataclass(frozen=True)
class JobRequest:
    """A photograph, and one person's references or the names of enrolled people, or nobody.

    photographs_of: digests of those by which each of these people was known when the request was accepted.
    """

    photo: bytes
    references: tuple[bytes, ...]
    people: tuple[str, ...]
    options: RestoreOptions
    photographs_of: tuple[tuple[str, ...], ...] = ()

    def check(self, limits: Limits) -> None:
        """Raises UsageError or PhotoError for what can be seen without decoding anything."""
        if self.people and self.references:
            raise UsageError("People and references were given together", hint="enroll the person of the references")
        check_count("references", len(self.references), limits.references)
        check_count("people", len(self.people), limits.people)
        check_pictures({PHOTOGRAPH: self.photo, **numbered("Reference", self.references)}, limits)
        if self.options.background not in (None, *NAMED):  # a path on the server's disk is nobody's business
            hint = f"use {', '.join(NAMED[:-1])} or {NAMED[-1]}"
            raise UsageError("is no background", subject=self.options.background, hint=hint)
        check_pictures({PHOTOGRAPH: self.photo}, limits, self.options.enlargement)

    def check_people(self, people: Iterable[Person]) -> None:
        """Raises UsageError if those who have the names are not those who had them when the request was accepted."""
        if not {one.digest for person in people for one in person.references} >= set().union(*self.photographs_of):
            reason = "Who was looked for is not enrolled any more, and somebody else has the name"
            raise UsageError(reason, hint="send the photograph again", code="unknown_person")

    def settings_json(self) -> str:
        """All but the pictures."""
        return json.dumps(self._asked() | {"photographs_of": self.photographs_of})

    def _asked(self) -> dict[str, Any]:
        return {"people": self.people, "options": self.options.model_dump(mode="json")}

    @classmethod
    def of(cls, settings: str, pictures: Sequence[bytes]) -> Self:
        """From `settings_json()` and the photograph before its references."""
        read = json.loads(settings)
        options = RestoreOptions.model_validate(read["options"])
        photographs_of = tuple(map(tuple, read.get("photographs_of", ())))  # a job of an earlier version has none
        return cls(pictures[0], tuple(pictures[1:]), tuple(read["people"]), options, photographs_of)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same, with people called otherwise; names: what they are called by what they were."""

        def now(known: str | None) -> str | None:
            return next((new for name, new in names.items() if same_name(known, name)), known)

        by_hand = [said.model_copy(update={"person": now(said.person)}) for said in self.options.by_hand]
        options = self.options.model_copy(update={"by_hand": tuple(by_hand)})
        return replace(self, people=tuple(map(str, map(now, self.people))), options=options)

    def digest(self) -> str:
        """The same for the same request."""
        parts = [hashlib.sha256(part).digest() for part in (self.photo, *self.references)]
        return hashlib.sha256(b"".join(parts) + json.dumps(self._asked()).encode()).hexdigest()


def check_count(what: str, given: int, most: int) -> None:
    """Raises UsageError for more than the server takes."""
    if given > most:
        raise UsageError(f"{given} {what} are too many", hint=f"give at most {most}", code="too_many")


def numbered(called: str, pictures: Sequence[bytes]) -> dict[str, bytes]:
    """Pictures as sentences call them: what the client called them is not looked at."""
    return {f"{called} {number}": data for number, data in enumerate(pictures, start=1)}


def check_pictures(pictures: Mapping[str, bytes], limits: Limits, enlargement: int = 1) -> None:
    """Raises PhotoError for what is no picture, or has too many pixels once it is so many times larger."""
    for called, data in pictures.items():
        if not data:
            raise PhotoError("is empty", subject=called, hint="it was probably not copied completely")
        width, height = open_header(io.BytesIO(data), called).size
        area = width * height * enlargement**2 / 1e6
        if area > limits.megapixels:
            has = "has" if enlargement == 1 else f"enlarged {enlargement} times has"
            reason = f"{has} {area:.3g} megapixels, and this server takes {limits.megapixels:g}"
            raise PhotoError(reason, subject=called, hint="make it smaller or cut out the faces")
