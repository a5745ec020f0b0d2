"""`faceref restore`: photographs and references in, restored photographs and a short account of them out."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from PIL import Image
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperCommand

from faceref.app.cli.console import output, remarks, say
from faceref.errors import FacerefError, OutputError, UsageError
from faceref.pictures.formats import PHOTO_SUFFIXES
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.search import check_exists, find_photos

if TYPE_CHECKING:  # at run time imported on use: --help need not wait for torch
    from faceref.restore.restorer import FaceChoice
    from faceref.restore.result import Result

OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


class PhotosThenReferences(TyperCommand):
    """Lets --ref take all that follows it up to the next option, as a shell expands `--ref photos/*.jpg`.

    After that option no file may follow: it could be a photograph as well as a reference.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with_value = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        spread: list[str] = []
        is_value = after_ref = had_ref = False
        for argument in args:
            if is_value:
                is_value = False
            elif argument.startswith("-"):
                is_value = argument in with_value
                after_ref = argument.partition("=")[0] == "--ref"
                had_ref = had_ref or after_ref
            elif after_ref:
                spread.append("--ref")
            elif had_ref:
                raise UsageError(
                    f"{argument} could be a photograph or a reference; put photographs before all options and "
                    "references right after --ref."
                )
            spread.append(argument)
        return super().parse_args(ctx, spread)


def restore(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO", help="Photographs to restore, before the options.", show_default=False),
    ],
    references: Annotated[
        list[Path] | None,
        typer.Option(
            "--ref", metavar="FILES_OR_FOLDER", help="Good photographs of the same person; takes all that follow."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File or folder of the result.", show_default="PHOTO_restored.png beside PHOTO"
        ),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="All pictures are aligned square faces already (FFHQ's alignment).")
    ] = False,
    model: Annotated[str, typer.Option(help="small, refldm-512 or a model folder.")] = "small",
    face: Annotated[
        str | None,
        typer.Option(
            help="Which face: a number from the left, largest or all.",
            show_default="the one most like the references; all without references",
        ),
    ] = None,
    detector: Annotated[
        str, typer.Option(help="What finds faces: dlib, or uniface (an extra) for small and turned ones.")
    ] = "dlib",
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", show_default="the model's own")] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How strongly to follow the references; 1 is plainly.", show_default="the model's own"),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, dpmsolver++ or unipc.", show_default="the model's own")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same picture.")] = 0,
    match_color: Annotated[
        bool, typer.Option("--match-color/--no-match-color", help="Keep the mean colour of the face in the photograph.")
    ] = True,
    largest_reference_face: Annotated[
        bool,
        typer.Option(
            "--largest-reference-face", help="Use references with several faces too, by their largest; else left out."
        ),
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write before, after and references side by side.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was done in JSON, a line for each photo.")] = False,
) -> None:
    """Restore the faces in photographs with the help of good photographs of the same person."""
    _check_inputs(photos, references or [])
    targets = _targets(photos, out)
    comparisons = {photo: _comparison(target) for photo, target in targets.items()} if compare else {}
    _check_outputs([*targets.values(), *comparisons.values()], [*photos, *find_photos(references or [])])
    from faceref.faces.detect import load_detector
    from faceref.restore.restorer import Restorer

    restorer = Restorer.from_pretrained(model, detector=load_detector(detector))
    person = None
    if references:
        person = restorer.encode_references(
            references, aligned=aligned, largest_face=largest_reference_face, exclude=photos
        )
    failures: list[FacerefError] = []
    for photo, target in targets.items():
        try:
            with _progress(photo) as on_step:
                result = restorer.restore(
                    photo,
                    person or (),
                    aligned=aligned,
                    face=_face_choice(face),
                    steps=steps,
                    guidance=guidance,
                    scheduler=scheduler,  # type: ignore[arg-type]  # the pipeline says which there are
                    seed=seed,
                    match_color=match_color,
                    on_step=on_step,
                )
            left_out = result.save(target)
            comparison = comparisons.get(photo)
            if comparison:
                result.save_comparison(comparison)
        except FacerefError as error:
            failures.append(error)
            continue
        account = describe(result, photo, target, comparison, left_out)
        typer.echo(json.dumps(account)) if as_json else _print(account)
    for error in failures[:-1]:
        say(str(error))
    if failures:
        raise failures[-1]


def describe(
    result: "Result", photo: Path, target: Path, comparison: Path | None, left_out: tuple[str, ...]
) -> dict[str, Any]:
    """What --json says of one restored photograph; left_out: what `Result.save` returned."""
    person = result.references
    return {
        "photo": str(photo),
        "restored": str(target),
        "comparison": comparison and str(comparison),
        "faces_found": result.faces_found,
        "faces": [
            {
                "number": face.number,
                "box": face.box and [round(edge, 1) for edge in face.box],
                "similarity_to_references": face.similarity_to_references,
                "similarity_to_input": face.similarity_to_input,
            }
            for face in result.faces
        ],
        "references_used": [reference.name for reference in person.used] if person else [],
        "references_skipped": [dataclasses.asdict(skipped) for skipped in person.skipped] if person else [],
        "warnings": [*result.warnings, *left_out],
        "settings": result.settings.by_name(),
        "seconds": {phase: round(seconds, 3) for phase, seconds in result.timings.items()},
    }


def _check_inputs(photos: Iterable[Path], references: Iterable[Path]) -> None:
    """Find a wrong name before the model is loaded."""
    for photo in photos:
        check_exists(photo)
    find_photos(references)


def _targets(photos: list[Path], out: Path | None) -> dict[Path, Path]:
    """Where each photograph's result goes: `out` itself if it names a picture, else NAME_restored.png."""
    if out is not None and not out.is_dir() and out.suffix.lower() in OUTPUT_SUFFIXES:
        if len(photos) > 1:
            raise UsageError(f"{len(photos)} photographs cannot all become {out}; name a folder.")
        return {photos[0]: out}
    pictures = {*Image.registered_extensions(), *PHOTO_SUFFIXES}
    if out is not None and out.suffix.lower() in pictures and not out.exists():
        raise UsageError(f"{out} is not a picture that can be written; use {', '.join(OUTPUT_SUFFIXES)}, or a folder.")
    targets = {photo: (out or photo.parent) / f"{photo.stem}_restored.png" for photo in photos}
    if len(set(targets.values())) < len(targets):
        raise UsageError("Two of the photographs have the same name; restore them one by one, with -o.")
    return targets


def _comparison(target: Path) -> Path:
    return target.with_name(f"{target.stem.removesuffix('_restored')}_compare.png")


def _check_outputs(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse what could not be written at the end of the work, or would replace a photograph that was given."""
    given = {path.resolve() for path in inputs}
    for target in targets:
        if target.resolve() in given and not is_marked_restored(target):  # an older result may be replaced
            raise UsageError(f"{target} is one of the photographs given; choose another name for the result.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=target.parent):
                pass
        except OSError as error:
            raise OutputError(f"{target} cannot be written ({error.strerror}); choose another folder.") from error


def _face_choice(face: str | None) -> "FaceChoice | None":
    if face is None or face in ("largest", "all"):
        return face  # type: ignore[return-value]
    if not face.isdecimal():
        raise UsageError(f"There is no face {face!r}; give a number (from the left), largest or all.")
    return int(face)


@contextmanager
def _progress(photo: Path) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over denoising steps; nothing where standard error is no terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
    )
    with Progress(
        *columns, TimeRemainingColumn(), console=remarks, transient=True, disable=not remarks.is_terminal
    ) as bar:
        task = bar.add_task(photo.name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(account: dict[str, Any]) -> None:
    """The account for a person: what became of each face, then the remarks."""
    output.print(f"{account['photo']} -> {account['restored']}")
    if account["comparison"]:
        output.print(f"before / after / references: {account['comparison']}")
    table = Table("face", "like the references", "like the photograph", box=None, padding=(0, 2))
    for face in account["faces"]:
        like_references = face["similarity_to_references"]
        table.add_row(
            f"{face['number']} of {account['faces_found']}",
            "-" if like_references is None else f"{like_references:.3f}",
            f"{face['similarity_to_input']:.3f}",
        )
    output.print(table)
    settings = ", ".join(f"{key} {value}" for key, value in account["settings"].items())
    seconds = ", ".join(f"{phase} {value:.1f}" for phase, value in account["seconds"].items())
    output.print(f"{len(account['references_used'])} references; {settings}")
    output.print(f"seconds: {seconds}")
    for skipped in account["references_skipped"]:
        say(f"Reference left out: {skipped['name']}: {skipped['reason']}")
    for warning in account["warnings"]:
        say(f"Warning: {warning}")
