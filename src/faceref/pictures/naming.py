"""Names of results: planned before the work, so that nothing is lost at its end."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from faceref.errors import OutputError, UsageError, printable
from faceref.files import cannot_be_written
from faceref.pictures.formats import HEAD, OUTPUT_FORMATS, PHOTO_SUFFIXES, format_of, suffix_for
from faceref.pictures.mark import is_marked_restored
from faceref.pictures.photo import Photo

_LONGEST_NAME = 255  # bytes, where the system does not say; it is so nearly everywhere


def output_suffix(photo: Photo | Path) -> str:
    """The suffix that keeps a photograph's format (".jpg" for JPEG and HEIC, ".png" for what cannot be written).

    Of a file that cannot be read it is that of its name: the photograph will be refused later, with a reason.
    """
    if isinstance(photo, Photo):
        return suffix_for(photo.file.format, transparent=photo.alpha is not None)
    try:
        with photo.open("rb") as file:
            return suffix_for(format_of(file.read(HEAD)))
    except (OSError, ValueError):
        return suffix_for(OUTPUT_FORMATS.get(photo.suffix.lower()))


def plan_outputs(photos: Sequence[Path], out: Path | None) -> dict[Path, Path]:
    """Where each photograph's result goes: `out` itself if it names a picture, else NAME_restored in that folder.

    Without `out` a result lies beside its photograph. The photograph's format is kept. Results that would have the same
    name are numbered from the second on, in order: NAME_restored_2. Raises UsageError if several photographs would
    become one file or `out` names a picture that cannot be written, OutputError for a name that is too long.
    """
    if out is not None and not out.is_dir() and out.suffix.lower() in OUTPUT_FORMATS:
        if len(photos) > 1:
            raise UsageError(f"{len(photos)} photographs cannot all become {out}", hint="name a folder")
        planned = {photos[0]: out}
    else:
        if out is not None and not out.exists() and out.suffix.lower() in _picture_suffixes():
            hint = f"use {', '.join(OUTPUT_FORMATS)}, or a folder"
            raise UsageError("is not a picture that can be written", subject=out, hint=hint)
        planned = _numbered({photo: (out or photo.parent) / f"{photo.stem}_restored" for photo in photos})
    for target in planned.values():
        check_name(target)
    return planned


def plan_tree(photos: Sequence[Path], folder: Path, out: Path) -> dict[Path, Path]:
    """Where each photograph below `folder` goes if it is restored: below `out` under its own name.

    One whose format cannot be written gets another suffix, and a number if that would be the name of another: each
    photograph's own name stays free for the case that it is copied. Case does not tell names apart (macOS, Windows).
    Raises UsageError for two photographs whose own names are one there, OutputError if `out` cannot be written.
    """
    own = {photo: out / photo.relative_to(folder) for photo in photos}
    _check_case(own, out)
    renamed = _numbered(
        {photo: target.with_suffix("") for photo, target in own.items() if not _keeps_format(photo)},
        taken=(str(target).casefold() for target in own.values()),
    )
    return own | renamed


def check_tree(folder: Path, out: Path, references: Iterable[Path] = ()) -> None:
    """Raises UsageError for a folder of results in which one could be taken for a photograph, or replace one.

    references: files and folders; another run would look at the results there, and not be the same.
    """
    photos, results = folder.resolve(), out.resolve()
    hint = "choose another folder for the results"
    if photos == results:
        raise UsageError("is the folder of the photographs", subject=out, hint=hint)
    if results.is_relative_to(photos):
        raise UsageError(f"lies in {folder}, where results would be taken for photographs", subject=out, hint=hint)
    if photos.is_relative_to(results):
        raise UsageError(f"holds {folder}, whose photographs could be replaced", subject=out, hint=hint)
    for good in references:
        if results.is_relative_to(good.resolve()):
            raise UsageError(f"lies in {good}, where results would be taken for references", subject=out, hint=hint)


def check_outputs(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse what would replace a photograph, given or not, or could not be written at the end of the work.

    An older result of ours may be replaced. Raises UsageError or OutputError.
    """
    given = {path.resolve() for path in inputs}
    for target in targets:
        if target.is_file() and target.stat().st_size and not is_marked_restored(target):
            if target.resolve() in given:
                reason, hint = "is one of the photographs given", "choose another name for the result"
                raise UsageError(reason, subject=target, hint=hint)
            hint = "move it away or choose another name"
            raise OutputError("is there already and is no result of ours", subject=target, hint=hint)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=target.parent):
                pass
        except OSError as error:
            reason = f"cannot be written ({error.strerror})"
            raise OutputError(reason, subject=target, hint="choose another folder") from error


def check_name(path: Path) -> None:
    """Raises OutputError for a name longer than the file system takes."""
    length, longest = len(os.fsencode(path.name)), _longest_name(path.parent)
    if length > longest:
        reason = f"cannot be written: its name has {length} bytes, and {longest} are the most there"
        raise OutputError(reason, subject=path, hint="choose a shorter name", code="name_too_long")


def _check_case(own: Mapping[Path, Path], out: Path) -> None:
    """Raises UsageError for names in `out` that differ in case only where that does not tell them apart."""
    first: dict[str, Path] = {}
    for photo, target in own.items():
        other = first.setdefault(str(target).lower(), photo)
        if other == photo:
            continue
        if not _ignores_case(out):
            return
        reason = (
            f"{printable(other)} and {printable(photo)} cannot both become {printable(target)}: case is ignored there"
        )
        raise UsageError(reason, hint="rename one of them, or choose another folder for the results")


def _ignores_case(folder: Path) -> bool:
    """Whether the file system takes names that differ in case only for one. Raises OutputError."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".case") as file:
            made = Path(file.name)
            return made.with_name(made.name.upper()).exists()
    except OSError as error:
        raise cannot_be_written(folder, error) from error


def _keeps_format(photo: Path) -> bool:
    """Whether the photograph's own suffix is one of the format that its result has."""
    return OUTPUT_FORMATS.get(photo.suffix.lower()) == OUTPUT_FORMATS[output_suffix(photo)]


def _numbered(wanted: dict[Path, Path], taken: Iterable[str] = ()) -> dict[Path, Path]:
    """Names with their suffixes, each once; those that ignore case (macOS, Windows) count as one as well.

    taken: names that are given away, in casefold().
    """
    taken = set(taken)
    planned: dict[Path, Path] = {}
    for photo, base in wanted.items():
        suffix, number = output_suffix(photo), 1
        target = base.with_name(base.name + suffix)
        while str(target).casefold() in taken:
            number += 1
            target = base.with_name(f"{base.name}_{number}{suffix}")
        taken.add(str(target).casefold())
        planned[photo] = target
    return planned


def _picture_suffixes() -> set[str]:
    """Of all that Pillow and we know as pictures: who names such a file does not mean a folder."""
    return {*Image.registered_extensions(), *PHOTO_SUFFIXES}


def _longest_name(folder: Path) -> int:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # AttributeError: Windows
        return _LONGEST_NAME
