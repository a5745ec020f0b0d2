"""`faceref restore FOLDER`: a whole tree of photographs, with its options, its progress and what is said at the end."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from faceref.app.cli.console import counted, output, progress, say, show
from faceref.app.cli.data_options import UseRay
from faceref.app.cli.wording import FOLDER_HINTS, left_alone
from faceref.errors import FacerefError, UsageError, printable
from faceref.restore.account import Account, called
from faceref.restore.options import CLEAN, RestoreOptions

if TYPE_CHECKING:  # at run time imported on use: --help need not wait for torch
    from faceref.restore.folder import Outcome
    from faceref.restore.request import Request

Jobs = Annotated[int, typer.Option(min=1, help="Processes, for a folder; each loads the model.")]
Again = Annotated[bool, typer.Option("--again", help="Do a folder again, with other settings perhaps.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would become of a folder; make no picture.")]
Ray = UseRay


def folder_of_results(photos: Path, references: Sequence[Path], out: Path | None, *, dry_run: bool) -> Path | None:
    """Where the results go, None for a dry run. Raises UsageError if that is not said, or within what is read."""
    if dry_run:
        return None
    from faceref.pictures.naming import check_tree

    if out is None:
        raise UsageError("A folder needs one for its results", hint="name it with --out")
    check_tree(photos, out, references)
    return out


def restore_folder(
    photos: Path,
    out: Path | None,
    request: "Request",
    *,
    jobs: int,
    ray: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Restore a tree, or without `out` say what would be done. Raises FacerefError; exits with 1 if a photo failed."""
    try:
        if out is None:
            failed = _dry_run(photos, request, jobs, ray, as_json)
        else:
            failed = _restore(photos, out, request, jobs, ray, again, as_json)
    except FacerefError as error:
        if hint := FOLDER_HINTS.get(error.code):
            raise type(error)(error.reason, subject=error.subject, hint=hint) from error
        raise
    if failed:
        raise typer.Exit(1)


def _restore(photos: Path, out: Path, request: "Request", jobs: int, ray: bool, again: bool, as_json: bool) -> int:
    """How many photographs failed."""
    from faceref.restore.folder import restore_folder
    from faceref.restore.summary import SUMMARY, check_own, draw_sheets, write_summary

    check_own(out)
    outcomes: list[Outcome] = []
    try:
        with progress("restoring", "photographs") as on_photo:
            for outcome in restore_folder(photos, out, request, jobs=jobs, ray=ray, again=again, on_photo=on_photo):
                outcomes.append(outcome)
                if as_json:
                    typer.echo(json.dumps(asdict(outcome)))
    finally:  # also when interrupted: it then tells what is done
        if outcomes:
            write_summary(out, outcomes)
    with progress("contact sheets", "photographs") as on_photo:
        sheets = draw_sheets(photos, out, outcomes, on_photo)
    failed = _say_failures(outcomes)
    if not as_json:
        done = sum(outcome.earlier for outcome in outcomes)
        warned = sum(bool(outcome.all_warnings) for outcome in outcomes)
        output.print(
            f"{out / SUMMARY}: {counted(len(outcomes), 'photograph')}: {_counts(outcomes)}"
            + (f"; {done} of them by an earlier run" if done else "")
            + (f"; {warned} with warnings, which {SUMMARY} tells" if warned else "")
            + _not_looked_at(photos)
            + (f"; before and after: {sheets[0]}" if sheets else "")
            + (f" and {len(sheets) - 1} more" if len(sheets) > 1 else "")
        )
    return failed


def _dry_run(photos: Path, request: "Request", jobs: int, ray: bool, as_json: bool) -> int:
    from faceref.restore.folder import match_folder

    with progress("matching", "photographs") as on_photo:
        found = match_folder(photos, request, jobs=jobs, ray=ray, on_photo=on_photo)
        outcomes = sorted(found, key=lambda outcome: outcome.photo)
    if as_json:
        for outcome in outcomes:
            typer.echo(json.dumps(asdict(outcome)))
    else:
        show(_matches(outcomes))
        would_be = f"{counted(len(outcomes), 'photograph')} would be: {_counts(outcomes)}"
        early = _judged_early(outcomes, request.options)
        output.print(f"{would_be}{early}; no picture was written{_not_looked_at(photos)}")
    return _say_failures(outcomes)


def _matches(outcomes: list["Outcome"]) -> Table:
    """A row for each face that was found, and for each photograph without any."""
    table = Table("photograph", "face", "whose", "sure", "second best", "", box=None, padding=(0, 2))
    for outcome in outcomes:
        account = Account(**outcome.account) if outcome.account else None
        for face in account.faces if account else ():
            names = [called(match.person, match.files) for match in face.matches]
            sure = [f"{name} {match.certainty:.0%}" for name, match in zip(names, face.matches, strict=True)]
            whose = names[0] if face.matched and names else "-"
            why = left_alone(face, account.face if account else None)
            table.add_row(printable(outcome.photo), str(face.number), whose, *[*sure, "-", "-"][:2], why)
        if not (account and account.faces):  # a background has an account without a face, too
            table.add_row(printable(outcome.photo), "-", "-", "-", "-", outcome.reason)
    return table


def _judged_early(outcomes: list["Outcome"], options: RestoreOptions) -> str:
    """That fewer faces may be restored, where that is so: to clean a megapixel takes seconds that a dry run saves."""
    as_needed = not options.always and not isinstance(options.strength, float)
    if options.background != CLEAN or not as_needed or not any(one.status == "restored" for one in outcomes):
        return ""
    return "; faces were judged before cleaning: some may need no more than that"


def _counts(outcomes: list["Outcome"]) -> str:
    """As "3 restored, 1 copied"."""
    return ", ".join(f"{count} {status}" for status, count in Counter(one.status for one in outcomes).most_common())


def _not_looked_at(photos: Path) -> str:
    """As "; not looked at: 2 files without a photograph's suffix", since one may be a photograph all the same."""
    from faceref.pictures.search import count_others_below

    others = count_others_below(photos)
    return f"; not looked at: {counted(others, 'file')} without a photograph's suffix" if others else ""


def _say_failures(outcomes: list["Outcome"]) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        say(str(outcome.reason))
    return len(failed)
