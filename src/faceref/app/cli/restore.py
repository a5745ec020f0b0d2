"""`faceref restore`: photographs and references in, restored photographs and a short account of them out."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from faceref.app.cli.compute_options import DEFAULTS as COMPUTE
from faceref.app.cli.compute_options import BackendName, Device, Dtype, MemoryUse, ModelName
from faceref.app.cli.console import output, progress, say, show, working
from faceref.app.cli.face_choice import BoxOption, FaceOption, LargestOption, face_choice, told
from faceref.app.cli.people import DataDir
from faceref.app.cli.restore_folder import Again, DryRun, Jobs, Ray, folder_of_results, restore_folder
from faceref.app.cli.wording import left_alone, sentence
from faceref.compute import Compute
from faceref.errors import FacerefError, UsageError, printable
from faceref.lean import importing
from faceref.restore.account import called, what_became
from faceref.restore.left_alone import LeftAlone
from faceref.restore.options import RestoreOptions, help_text

if TYPE_CHECKING:  # at run time imported on use, as what opens photographs is: --help need not wait
    from faceref.people.person import Identity
    from faceref.restore.account import Account, FaceAccount
    from faceref.restore.restorer import Restorer

DEFAULTS = RestoreOptions()
PERHAPS = 0.1  # certainty from which on it is told whom a face that was left alone may be
# that are told, of all faces together
SETTINGS = ("model", "steps", "guidance", "scheduler", "crisp", "seed", "dtype", "backend")


def restore(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO", help="Photographs, or a folder, before the options.", show_default=False),
    ],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--ref",
            metavar="FILES_OR_FOLDER",
            help="Good photographs of the same person, or a folder of several people's; takes all that follow.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--person", metavar="NAME", help="Somebody enrolled (faceref people), not --ref; several times."),
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File or folder of the result.",
            show_default="PHOTO_restored beside PHOTO, in its format",
        ),
    ] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help=help_text("aligned"))] = DEFAULTS.aligned,
    model: ModelName = "small",
    face: FaceOption = None,
    box: BoxOption = None,
    only_largest: LargestOption = False,
    max_refs: Annotated[int, typer.Option(min=1, help=help_text("max_refs"))] = DEFAULTS.max_refs,
    unknown: Annotated[str, typer.Option(help=help_text("unknown"))] = DEFAULTS.unknown,
    detector: Annotated[
        str, typer.Option(help="What finds faces: mtcnn (of any size, any way up), dlib, or uniface (an extra).")
    ] = "mtcnn",
    landmarks: Annotated[
        str, typer.Option(help="What places the landmarks: dlib, whose terms exclude products, or mesh (Apache-2.0).")
    ] = "dlib",
    recogniser: Annotated[
        str,
        typer.Option(
            help="What tells who a face is: trained for degraded faces (terms exclude products), or dlib's own (CC0)."
        ),
    ] = "trained",
    steps: Annotated[int | None, typer.Option(help=help_text("steps"))] = DEFAULTS.steps,
    guidance: Annotated[float | None, typer.Option(help=help_text("guidance"))] = DEFAULTS.guidance,
    scheduler: Annotated[str | None, typer.Option(help=help_text("scheduler"))] = DEFAULTS.scheduler,
    crisp: Annotated[float | None, typer.Option(min=0, max=1, help=help_text("crisp"))] = DEFAULTS.crisp,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help=help_text("seed"))] = DEFAULTS.seed,
    strength: Annotated[list[str] | None, typer.Option(metavar="S", help=help_text("strength"))] = None,
    always: Annotated[bool, typer.Option("--always", help=help_text("always"))] = DEFAULTS.always,
    face_only: Annotated[bool, typer.Option("--face-only", help=help_text("face_only"))] = DEFAULTS.face_only,
    colour: Annotated[str, typer.Option(help=help_text("colour"))] = DEFAULTS.colour,
    largest_reference_face: Annotated[
        bool, typer.Option("--largest-reference-face", help=help_text("largest_reference_face"))
    ] = DEFAULTS.largest_reference_face,
    background: Annotated[str | None, typer.Option(metavar="NAME_OR_FILE", help=help_text("background"))] = None,
    scale: Annotated[int | None, typer.Option(help=help_text("scale"))] = DEFAULTS.scale,
    device: Device = COMPUTE.device,
    dtype: Dtype = COMPUTE.dtype,
    memory: MemoryUse = COMPUTE.memory,
    backend: BackendName = COMPUTE.backend,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write before, after and references side by side.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done in JSON, a line for each photo.")] = False,
    jobs: Jobs = 1,
    ray: Ray = False,
    again: Again = False,
    dry_run: DryRun = False,
) -> None:
    """Restore the faces in photographs with the help of good photographs of the same person."""
    options = RestoreOptions.of(
        aligned=aligned,
        face=face_choice(face, box, only_largest),
        unknown=unknown,
        max_refs=max_refs,
        steps=steps,
        guidance=guidance,
        scheduler=scheduler,
        crisp=crisp,
        seed=seed,
        strength=",".join(strength) if strength else None,
        always=always,
        face_only=face_only,
        colour=colour,
        largest_reference_face=largest_reference_face,
        background=background,
        scale=scale,
    )
    compute = Compute(device, dtype, memory, backend)
    from faceref.checkpoints.info import find_model
    from faceref.people.library import Library
    from faceref.people.person import distinct
    from faceref.pictures.naming import check_outputs, plan_outputs
    from faceref.pictures.photo import check_photo
    from faceref.pictures.search import check_exists, list_photos

    if names and references:
        raise UsageError("Give either --ref, photographs of one person, or --person, people who are enrolled")
    who = distinct(names or ())
    model = str(find_model(model))  # of the hub: fetched once
    for photo in photos:
        check_exists(photo)
    people: list[Identity[Any]] = [Library(data_dir).get(name) for name in who]
    if any(photo.is_dir() for photo in photos):
        if len(photos) > 1:
            folder = next(photo for photo in photos if photo.is_dir())
            raise UsageError("is a folder, which is restored alone", subject=folder, hint="give no other photographs")
        if compare:
            raise UsageError("--compare is for photographs, and contact sheets compare a folder's", hint="leave it out")
        good, asked = tuple(references or ()), tuple(who)
        results = folder_of_results(photos[0], good, out, dry_run=dry_run)
        with importing(), working("Loading torch"):
            from faceref.restore.request import Request

        request = Request(model, detector, good, asked, data_dir, options, compute, landmarks, recogniser)
        restore_folder(photos[0], results, request, jobs=jobs, ray=ray, again=again, as_json=as_json)
        return
    if again or dry_run or ray or jobs > 1:
        raise UsageError("--again, --dry-run, --jobs and --ray are for folders", hint="give one, or leave them out")
    if len(photos) == 1:  # of several the others are restored, and each is said in its turn
        check_photo(photos[0])
    else:
        photos = _without_results(photos)
    good = list_photos(references or [])
    targets = plan_outputs(photos, out)
    comparisons = _comparisons(targets) if compare else {}
    check_outputs([*targets.values(), *comparisons.values()], [*photos, *good])
    with importing(), working("Loading the model"):  # seconds, most of them torch's
        from faceref.people.album_index import AlbumIndex
        from faceref.restore.request import load_restorer

        restorer = load_restorer(model, compute, detector, landmarks, recogniser)
    restorer.check(options, with_references=bool(references or people))
    if references:
        with progress("references", "photographs") as on_photo:
            people = restorer.people(references, options, index=AlbumIndex(data_dir), on_photo=on_photo)
    _restore_each(restorer, targets, people, options, comparisons, as_json=as_json)


def _restore_each(
    restorer: "Restorer",
    targets: dict[Path, Path],
    people: "list[Identity[Any]]",
    options: RestoreOptions,
    comparisons: dict[Path, Path],
    *,
    as_json: bool,
) -> None:
    """One photograph after the other; errors are told once all had their turn, and the last one is raised."""
    from faceref.pictures.formats import OUTPUT_FORMATS
    from faceref.restore.background import check_result

    failures: list[FacerefError] = []
    for photo, target in targets.items():
        try:
            check_result(photo, options, OUTPUT_FORMATS[target.suffix.lower()], str(target))
            with progress(photo.name, "steps") as on_step:
                result = restorer.restore(photo, people, options, on_step=on_step)
            account = result.account()
            if result.is_new:
                account.warnings += result.save(target)
                account.restored = printable(target)
                if result.faces and (comparison := comparisons.get(photo)):
                    result.save_comparison(comparison)
                    account.comparison = printable(comparison)
        except FacerefError as error:
            failures.append(error)
            continue
        typer.echo(account.model_dump_json()) if as_json else _print(account)
    for error in failures:
        for warning in error.warnings:
            say(f"Warning: {warning}")
        if error is failures[-1]:
            raise error
        say(sentence(error))


def _without_results(photos: list[Path]) -> list[Path]:
    """Those that are no results of ours, as *.jpg names them after an earlier run; all, if there are no others."""
    from faceref.pictures.mark import is_marked_restored

    results = [photo for photo in photos if is_marked_restored(photo)]
    if len(results) == len(photos):
        return photos
    for photo in results:
        say(f"{printable(photo)} is a result of faceref already, and was passed over; it can be given alone.")
    return [photo for photo in photos if photo not in results]


def _comparisons(targets: dict[Path, Path]) -> dict[Path, Path]:
    """Where the comparison of each photograph lies; a suffix is in its name where that alone tells two apart."""
    plain = {
        photo: target.with_name(f"{target.stem.removesuffix('_restored')}_compare.png")
        for photo, target in targets.items()
    }
    times = Counter(str(path).casefold() for path in plain.values())  # macOS and Windows ignore case
    return {
        photo: path
        if times[str(path).casefold()] == 1
        else path.with_stem(f"{path.stem}_{targets[photo].suffix.lstrip('.')}")
        for photo, path in plain.items()
    }


def _print(account: "Account") -> None:
    """The account for a person: what became of each face, then the remarks."""
    output.print(f"{account.photo} -> {account.restored or 'nothing was restored, so nothing was written'}")
    if account.comparison:
        output.print(f"before / after / references: {account.comparison}")
    if choice := told(account.face):
        output.print(f"chosen: {choice}")
    several = any(len(face.matches) > 1 or face.person for face in account.faces)
    whose = ["person", "photographs", "second best"] if several else []
    table = Table("face", *whose, "certainty", "references", "strength", "", box=None, padding=(0, 2))
    for face in account.faces:
        who, certainty, photographs, second = _matched(face)
        table.add_row(
            f"{face.number} of {len(account.faces)}",
            *((who, photographs, second) if several else ()),
            certainty,
            str(len(face.references)) if face.restored else "-",
            f"{face.strength:.0%}",
            left_alone(face, account.face),
        )
    if account.faces:
        show(table)
    for face in account.faces:
        if face.references:
            output.print(f"references of face {face.number}: {', '.join(Path(name).name for name in face.references)}")
    if account.background:
        output.print(what_became(account.background, account.enlargement))
    restored = [face.settings for face in account.faces]
    settings = {key: {str(of_one[key]): None for of_one in restored if key in of_one} for key in SETTINGS}
    if any(settings.values()):
        output.print(", ".join(f"{key} {' and '.join(values)}" for key, values in settings.items() if values))
    output.print("seconds: " + ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in account.seconds.items()))
    for skipped in account.references_left_out:
        say(f"Reference left out: {skipped.name}: {skipped.reason}")
    for warning in account.warnings:
        say(f"Warning: {warning}")


def _matched(face: "FaceAccount") -> tuple[str, str, str, str]:
    """Who a face is restored as, how surely, known by how many photographs; and who is second best, how surely.

    Of a face that is surely nobody's it is of no interest whom it is least unlike.
    """
    is_open = face.left_alone_code in (LeftAlone.NOT_SURE, LeftAlone.NOBODY)
    if not face.matched and not (is_open and face.matches and face.matches[0].certainty >= PERHAPS):
        return "-", "-", "-", "-"
    best, *others = face.matches
    who = called(best.person, best.files)
    return (
        who if face.matched else f"{'not sure' if face.left_alone_code == LeftAlone.NOT_SURE else 'nobody'} ({who}?)",
        f"{best.certainty:.0%}",
        str(len(best.files)),
        f"{called(others[0].person, others[0].files)} {others[0].certainty:.0%}" if others else "-",
    )
