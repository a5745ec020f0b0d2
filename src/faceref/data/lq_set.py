"""Low-quality versions of aligned faces on disk, each seeded by its own name: adding a file changes no other."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faceref.data.degradation import GRADES, LDBFR, TRAINING, Degradation, DegradationRanges, degrade
from faceref.data.index import INDEX, read_index
from faceref.data.mapping import ReferenceMapping
from faceref.data.table import NO_TEXT, Row, is_text, leads_out, write_table
from faceref.errors import DataError, UsageError, printable
from faceref.files import stamp_of, write_atomically
from faceref.jobs import OnItem, run
from faceref.journal import claim
from faceref.pictures.aligned import open_face
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.pictures.search import photos_below

PRESETS = {**GRADES, "training": TRAINING, "ldbfr": LDBFR}
JOURNAL, PARAMETERS, LEFT_OUT = "degradation.jsonl", "degradation.csv", "left_out.csv"
STAMP = "stamp"  # in the journal; runs before had none
COLUMNS = tuple(field.name for field in fields(Degradation))


@dataclass(frozen=True)
class DegradeWork:
    """Degrades one file, named relative to `faces`, to a PNG of that name below `out`."""

    faces: Path
    out: Path
    ranges: DegradationRanges
    seed: int
    purpose: str

    def start(self) -> Callable[[str], tuple[str, Degradation | str]]:
        return self._degrade

    def _degrade(self, name: str) -> tuple[str, Degradation | str]:
        """The name with what was done to the file, or with the reason why it could not be."""
        if not is_text(name):
            return name, NO_TEXT
        path = self.out / lq_name(name)
        try:
            face = open_face(self.faces / name).convert("RGB")
        except DataError as error:
            return name, str(error)
        rng = np.random.default_rng(seed_for(self.seed, name, self.purpose))
        degradation = self.ranges.at(face.width).sample(rng)
        degraded = degrade(face, degradation, rng)
        if path.exists():
            if not _shows(path, degraded):
                return name, f"{path} is there already and no degraded {name}; remove it or choose another folder."
        else:
            with write_atomically(path) as temporary:
                degraded.save(temporary)
        return name, degradation


def degrade_files(
    faces: Path,
    names: Sequence[str],
    out: Path,
    ranges: DegradationRanges,
    *,
    seed: int,
    purpose: str,
    workers: int = 1,
    on_file: OnItem = lambda *_: None,
) -> tuple[int, list[Row]]:
    """Degrade files (Eq. 4 of ReF-LDM), `ranges` brought to the size of each.

    Returns how many of them are in `out` now, and file and reason of those that are not. What an earlier run with the
    same settings did is not done again, unless a file has changed since; a picture of another origin is never
    overwritten. degradation.csv tells the parameters of each, in its own pixels, those of earlier runs first.
    purpose: the preset's name; with it, seed and name give what `faceref evaluate` makes where there is no LQ set.
    Raises UsageError if `out` was made otherwise or is `faces`, DataError if there is no file, two that differ in
    suffix only, or one elsewhere.
    """
    if out.resolve() == faces.resolve():
        raise UsageError("holds the faces themselves", subject=out, hint="choose another folder for the degraded ones")
    _check_names(names)
    with claim(out / JOURNAL, {"seed": seed, "purpose": purpose, **ranges.model_dump(mode="json")}) as journal:
        stamps = {name: stamp_of(faces / name) for name in names}
        for name in names:
            if _has_changed(journal.done.get(name, {}), stamps[name]):
                (out / lq_name(name)).unlink(missing_ok=True)  # it shows what the file was
        left = [name for name in names if name not in journal.done or not (out / lq_name(name)).exists()]
        work = DegradeWork(faces.absolute(), out.absolute(), ranges, seed, purpose)
        reasons: dict[str, str] = {}
        for name, outcome in run(work, left, workers=workers, on_item=on_file):
            if isinstance(outcome, Degradation):
                journal.record(name, asdict(outcome) | {STAMP: stamps[name]})
            else:
                reasons[name] = outcome
        failed = [{"file": printable(name), "reason": reasons[name]} for name in names if name in reasons]
        write_table(out / LEFT_OUT, ("file", "reason"), failed)
        if len(failed) == len(names):
            raise DataError(f"No file below {faces} could be degraded; {out / LEFT_OUT} says why for each")
        write_table(out / PARAMETERS, ("file", *COLUMNS), _parameters(journal.done, names))
    return len(names) - len(failed), failed


def files_to_degrade(faces: Path, split: str | None, mapping: Path | None) -> list[str]:
    """The targets of a mapping, or the files of the index (of a split of it), or if there is none every picture.

    Links are followed as everywhere (`photos_below`). An LQ set that lies below `faces` is not degraded once more.
    Raises UsageError for a split and a mapping, DataError if there is no file.
    """
    if split is not None and mapping is not None:
        raise UsageError(
            "A split and a mapping were given",
            hint="give either: a mapping is of one split already",
            code="split_and_mapping",
        )
    if mapping is not None:
        names = [entry.gt_image for entry in ReferenceMapping.read(mapping)]
    elif split is not None or (faces / INDEX).exists():
        names = [row["file"] for row in read_index(faces) if split in (None, row.get("split"))]
    else:
        pictures = photos_below(faces, PICTURE_SUFFIXES)
        folders = {parent for path in pictures for parent in path.parents}
        lq_sets = {folder for folder in folders if (folder / JOURNAL).exists()}
        names = sorted(path.relative_to(faces).as_posix() for path in pictures if not lq_sets & set(path.parents))
    if not names:
        raise DataError(f"There is no picture to degrade in {mapping or faces}", hint="check the folder and the split")
    return list(dict.fromkeys(names))


def lq_name(name: str) -> str:
    """The file of an LQ set that belongs to a face."""
    return Path(name).with_suffix(".png").as_posix()


def seed_for(seed: int, name: str, purpose: str) -> int:
    """A seed of its own for each file and purpose: neither the order nor the other files matter."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()[:6])


def _has_changed(known: dict[str, Any], stamp: tuple[int, int] | None) -> bool:
    """Whether a file is another than when it was degraded; one that is gone is said when it is to be degraded."""
    before = known.get(STAMP)
    return before is not None and stamp is not None and tuple(before) != stamp


def _check_names(names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in names:
        if leads_out(name):  # what it becomes would lie beside somebody's photographs
            raise DataError(f"{name} leads out of the folder of the faces", hint="give names relative to that folder")
        other = first.setdefault(lq_name(name), name)
        if other != name:
            raise DataError(f"{name} and {other} would both become {lq_name(name)}", hint="rename one of them")


def _shows(path: Path, picture: Image.Image) -> bool:
    """Whether a file holds these pixels: it is what a run that was killed has written and could not remember."""
    try:
        return np.array_equal(np.asarray(open_face(path).convert("RGB")), np.asarray(picture))
    except DataError:
        return False


def _parameters(done: dict[str, dict[str, Any]], names: Sequence[str]) -> list[Row]:
    """Rows of degradation.csv: files of earlier runs, then those of this one in its own order."""
    chosen = set(names)
    order = [*(name for name in done if name not in chosen), *(name for name in names if name in done)]
    return [{"file": lq_name(name), **{key: f"{done[name][key]:.4g}" for key in COLUMNS}} for name in order]
