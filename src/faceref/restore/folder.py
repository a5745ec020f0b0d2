"""A whole tree of photographs: each becomes a result in another tree once, whatever ends the process in between."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from faceref.errors import (
    FaceNotThereError,
    FacerefError,
    NoFaceError,
    NoOtherPhotographError,
    OtherPersonError,
    OutputError,
    PhotoError,
    printable,
)
from faceref.files import write_atomically
from faceref.jobs import OnItem, run
from faceref.journal import claim, note_writing
from faceref.people.person import Identity
from faceref.pictures.formats import NAMES, OUTPUT_FORMATS
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.naming import check_name, check_tree, output_suffix, plan_tree
from faceref.pictures.photo import read_bytes
from faceref.pictures.search import check_exists, photo_digest, photos_below
from faceref.restore.background import check_result
from faceref.restore.only_background import made_in_folder
from faceref.restore.request import Request
from faceref.restore.restorer import Restorer
from faceref.restore.result import Result

JOURNAL = "restore.jsonl"  # what became of each photograph
SHEETS = "contact_sheet_*.png"  # see `faceref.restore.summary`
OURS = "it is a result of faceref already"
NOTHING_TO_RESTORE = (NoFaceError, NoOtherPhotographError, OtherPersonError, FaceNotThereError)  # it is copied then


@dataclass(frozen=True)
class Item:
    """A photograph, and where its result would go, by their names in the two trees.

    Of earlier runs: before, the name of its result, unless that is another photograph's by now; written, the digests of
    all that they wrote to these names.
    """

    photo: str
    target: str
    before: str | None = None
    written: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a photograph; cleaned, enlarged: and nothing in it was restored.

    digest: of its file; result: name in the tree of results; reason: why nothing was restored; account: the fields of
    `faceref.restore.account.Account`, in which its warnings are; warnings: those of a photograph that has none;
    earlier: done by an earlier run.
    """

    photo: str
    status: Literal["restored", "cleaned", "enlarged", "copied", "passed over", "failed"]
    digest: str | None = None
    result: str | None = None
    reason: str | None = None
    account: dict[str, Any] | None = None
    warnings: Sequence[str] = ()
    earlier: bool = False

    @property
    def all_warnings(self) -> Sequence[str]:
        return self.account["warnings"] if self.account else self.warnings


@dataclass(frozen=True)
class MatchWork:
    """Says what would become of a photograph below `photos`, and writes nothing."""

    photos: Path
    request: Request

    def start(self) -> Callable[[Item], Outcome]:
        restorer, people = self.request.load()
        return lambda item: self._match(item, restorer, people)

    def _match(self, item: Item, restorer: Restorer, people: list[Identity[Any]]) -> Outcome:
        photo = self.photos / item.photo
        try:
            if is_marked_restored(photo):
                return Outcome(item.photo, "passed over", reason=OURS)
            _check_is_no_sheet(photo, item)
            check_result(photo, self.request.options, OUTPUT_FORMATS[output_suffix(photo)], printable(photo))
            result = made_in_folder(restorer.match, photo, people, self.request.options)
        except NOTHING_TO_RESTORE as error:
            return Outcome(item.photo, "copied", reason=error.reason, warnings=error.warnings)
        except FacerefError as error:
            return Outcome(item.photo, "failed", reason=str(error), warnings=error.warnings)
        status, reason = _status(result)
        return Outcome(item.photo, status, reason=reason, account=result.account().model_dump(mode="json"))


@dataclass(frozen=True)
class RestoreWork:
    """Restores a photograph below `photos`, and writes the result, or the photograph's own bytes, below `out`."""

    photos: Path
    out: Path
    request: Request

    def start(self) -> Callable[[Item], Outcome]:
        restorer, people = self.request.load()
        return lambda item: self._restore(item, restorer, people)

    def _restore(self, item: Item, restorer: Restorer, people: list[Identity[Any]]) -> Outcome:
        """Raises OutputError if the folder of results cannot be written: the next photograph could not be either."""
        photo = self.photos / item.photo
        try:
            digest = photo_digest(photo)  # before it is opened: one that changes meanwhile is done again
            if is_marked_restored(photo):
                return Outcome(item.photo, "passed over", digest, reason=OURS)
            _check_is_no_sheet(photo, item)
            outcome, content = self._made(item, restorer, people)
            name, made = str(outcome.result), sha256(content).hexdigest()
            target = self.out / name
            check_name(target)
            _check_may_be_replaced(target, item.written.get(name, ()), same=(digest, made))
        except FacerefError as error:
            return Outcome(item.photo, "failed", reason=str(error), warnings=error.warnings)
        note_writing(self.out / JOURNAL, name, made)
        with write_atomically(target) as temporary:
            temporary.write_bytes(content)
            if outcome.status == "copied":
                _keep_time(photo, temporary)
        if item.before and item.before != outcome.result:
            with suppress(FacerefError):  # it is somebody else's by now
                _check_may_be_replaced(self.out / item.before, item.written.get(item.before, ()))
                (self.out / item.before).unlink(missing_ok=True)  # or two results would tell two things
        return replace(outcome, digest=digest)

    def _made(self, item: Item, restorer: Restorer, people: list[Identity[Any]]) -> tuple[Outcome, bytes]:
        """What becomes of a photograph, and the bytes to write."""
        photo, target = self.photos / item.photo, self.out / item.target
        format = OUTPUT_FORMATS[target.suffix.lower()]
        check_result(photo, self.request.options, format, printable(target))
        try:
            result = made_in_folder(restorer.restore, photo, people, self.request.options)
        except NOTHING_TO_RESTORE as error:
            copied = Outcome(item.photo, "copied", None, item.photo, error.reason, warnings=error.warnings)
            return copied, read_bytes(photo)
        account = result.account()
        status, reason = _status(result)
        if status == "copied":
            told = account.model_dump(mode="json")
            return Outcome(item.photo, status, None, item.photo, reason, told), read_bytes(photo)
        content, left_out = result.encode(format, printable(target))
        account.warnings += left_out
        account.restored = str(target)
        told = account.model_dump(mode="json")
        return Outcome(item.photo, status, None, item.target, reason, told), content


def restore_folder(
    photos: Path,
    out: Path,
    request: Request,
    *,
    jobs: int = 1,
    ray: bool = False,
    again: bool = False,
    on_photo: OnItem = lambda *_: None,
) -> Iterator[Outcome]:
    """Restore all photographs below `photos` into the same tree below `out`; the outcomes as they are reached.

    A photograph with nothing to restore is copied byte for byte, if it gets no background; results of ours are passed
    over; one that cannot be read is told as failed. What an earlier run with the same settings did comes first and is
    not done again, whatever ended that run. again: do all of it again, with other settings perhaps. on_photo: told how
    far it is.

    Raises UsageError for trees within one another, results among references, and (code "other_settings") if `out` was
    made with other settings; PhotoError if there is no photograph, or their folder or one of references vanishes;
    OutputError if `out` cannot be written or a file that is no result would be replaced.
    """
    check_tree(photos, out, request.references)
    names = _photos(photos)
    settings = {"photos": str(photos.resolve()), **request.settings()}
    with claim(out / JOURNAL, settings, again=again) as journal:
        items: list[Item] = []
        planned = {
            photo.relative_to(photos).as_posix(): target.relative_to(out).as_posix()
            for photo, target in plan_tree([photos / name for name in names], photos, out).items()
        }
        taken = {*planned, *planned.values()}
        written = journal.written
        for one in journal.earlier.values():
            if one["status"] == "copied":  # as journals told it before they noted what is written
                written.setdefault(one["result"], set()).add(one["digest"])
        for name, target in planned.items():
            known = Outcome(**journal.done[name]) if name in journal.done else None
            before = journal.earlier.get(name, {}).get("result")
            if before in taken - {name, target}:
                before = None
            told = {one: tuple(written[one]) for one in (name, target, before) if one in written}
            item = Item(name, target, before, told)
            if known and _is_done(known, item, photos, out):
                yield replace(known, earlier=True)
            else:
                items.append(item)
        if items and (jobs > 1 or ray):
            request.look()
        work = RestoreWork(photos.absolute(), out.absolute(), request)
        albums = [path for path in request.references if path.is_dir()]  # whose photographs are opened when needed
        for outcome in run(work, items, workers=jobs, ray=ray, on_item=on_photo):
            for folder in (photos, *albums) if outcome.status == "failed" else albums:
                _check_still_there(folder)
            if outcome.status != "failed":
                journal.record(outcome.photo, asdict(outcome))
            yield outcome


def match_folder(
    photos: Path, request: Request, *, jobs: int = 1, ray: bool = False, on_photo: OnItem = lambda *_: None
) -> Iterator[Outcome]:
    """What `restore_folder` would do with each photograph, without results; raises as it does."""
    items = [Item(name, name) for name in _photos(photos)]
    if jobs > 1 or ray:
        request.look()
    yield from run(MatchWork(photos.absolute(), request), items, workers=jobs, ray=ray, on_item=on_photo)


def _photos(folder: Path) -> list[str]:
    check_exists(folder)
    names = [path.relative_to(folder).as_posix() for path in photos_below(folder)]
    if not names:
        raise PhotoError(f"has no {NAMES} pictures in it", subject=folder, hint="name another folder")
    return names


def _is_done(known: Outcome, item: Item, photos: Path, out: Path) -> bool:
    """Whether the photograph is the same as then, and its result is where it would be written now."""
    if known.status != "passed over":
        expected = item.photo if known.status == "copied" else item.target
        if known.result != expected or not (out / expected).is_file():
            return False
    with suppress(PhotoError):  # it has vanished
        return known.digest == photo_digest(photos / item.photo)
    return False


def _check_is_no_sheet(photo: Path, item: Item) -> None:
    """Raises PhotoError for a photograph whose result, or copy, a contact sheet would replace."""
    if "/" not in item.photo and fnmatch(item.photo, SHEETS):
        raise PhotoError("has the name of a contact sheet", subject=photo, hint="rename it")


def _status(result: Result) -> tuple[Literal["restored", "cleaned", "enlarged", "copied"], str | None]:
    """What becomes of a photograph, and why no face in it was or is to be restored; None if one is."""
    reasons = [one.left_alone.reason for one in result.assignments if one.left_alone]
    if len(reasons) < len(result.assignments):
        return "restored", None
    reason = "; ".join(dict.fromkeys(reasons)) or "no face was found"
    if result.background is None:
        return "copied", reason
    return "cleaned" if result.enlargement == 1 else "enlarged", reason


def _check_may_be_replaced(target: Path, written: Sequence[str], same: Sequence[str] = ()) -> None:
    """Raises OutputError unless nothing is there, what an earlier run wrote, or the same as would be written.

    written: digests of all that earlier runs wrote there; none: that is not known, and the mark of a result has to do.
    """
    if not target.exists() or photo_digest(target) in (*written, *same):
        return
    if written or not is_marked_restored(target):
        reason = "has been changed since faceref wrote it" if written else "is there already and is no result of ours"
        raise OutputError(reason, subject=target, hint="move it away or choose another folder")


def _keep_time(photo: Path, copy: Path) -> None:
    """Albums are sorted by it; a photograph that has vanished meanwhile has none."""
    with suppress(OSError):
        status = photo.stat()
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def _check_still_there(folder: Path) -> None:
    """Raises PhotoError if the folder is gone, or empty as what a disk was mounted on: nothing else could be read."""
    try:
        gone = not any(folder.iterdir())
    except OSError:
        gone = True
    if gone:
        hint = "connect it and run the same again: what is done is kept"
        raise PhotoError("is there no more", subject=folder, hint=hint)
