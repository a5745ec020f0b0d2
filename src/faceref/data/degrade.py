"""Low-quality versions of aligned faces on disk, each seeded by its own name: adding a file changes no other."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from faceref.data.degradation import LDBFR, MODERATE, SEVERE, TRAINING, Degradation, DegradationRanges, degrade
from faceref.data.index import INDEX, Row, read_index, write_table
from faceref.data.references import ReferenceMapping, read_table
from faceref.errors import DataError, UsageError
from faceref.files import write_atomically
from faceref.jobs import run
from faceref.pictures.aligned import open_face
from faceref.pictures.photo import PICTURE_SUFFIXES

PRESETS = {"severe": SEVERE, "moderate": MODERATE, "training": TRAINING, "ldbfr": LDBFR}
SETTINGS, PARAMETERS, LEFT_OUT = "degradation.json", "degradation.csv", "left_out.csv"


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
        try:
            face = open_face(self.faces / name).convert("RGB")
        except DataError as error:
            return name, str(error)
        rng = np.random.default_rng(seed_for(self.seed, name, self.purpose))
        degradation = self.ranges.at(face.width).sample(rng)
        path = self.out / lq_name(name)
        if not path.exists():
            with write_atomically(path) as temporary:
                degrade(face, degradation, rng).save(temporary)
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
) -> tuple[int, list[Row]]:
    """Degrade files (Eq. 4 of ReF-LDM), `ranges` brought to the size of each.

    Returns how many of them are in `out` now, and file and reason of those that could not be read.
    Pictures that `out` holds already are kept. degradation.csv tells the parameters of each, in its own pixels,
    those of earlier runs first.
    purpose: the preset's name; with it, seed and name give what `faceref evaluate` makes where there is no LQ set.
    Raises UsageError if `out` was made otherwise, DataError if there is no file, or two that differ in suffix only.
    """
    _claim(out, {"seed": seed, "purpose": purpose, **ranges.model_dump(mode="json")})
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(lq_name(name), name)
        if other != name:
            raise DataError(f"{name} and {other} would both become {lq_name(name)}; rename one of them.")
    work = DegradeWork(faces.absolute(), out.absolute(), ranges, seed, purpose)
    done = dict(run(work, list(names), workers=workers, description="degrading"))
    failed = [{"file": name, "reason": reason} for name in names if isinstance(reason := done[name], str)]
    parameters = [{"file": lq_name(name), **_text(d)} for name in names if isinstance(d := done[name], Degradation)]
    write_table(out / LEFT_OUT, ("file", "reason"), failed)
    if not parameters:
        raise DataError(f"No file below {faces} could be degraded; {out / LEFT_OUT} says why for each.")
    known = {row["file"]: row for row in _parameters_before(out)} | {row["file"]: row for row in parameters}
    write_table(out / PARAMETERS, list(parameters[0]), known.values())
    return len(parameters), failed


def files_to_degrade(faces: Path, split: str | None, mapping: Path | None) -> list[str]:
    """The targets of a mapping, or the files of the index (of a split of it), or if there is none every picture.

    An LQ set that lies below `faces` is not degraded once more.
    Raises UsageError for a split and a mapping, DataError if there is no file.
    """
    if split is not None and mapping is not None:
        raise UsageError("Give either --split or --mapping: a mapping is of one split already.")
    if mapping is not None:
        names = [entry.gt_image for entry in ReferenceMapping.read(mapping)]
    elif split is not None or (faces / INDEX).exists():
        names = [row["file"] for row in read_index(faces) if split in (None, row.get("split"))]
    else:
        lq_sets = {path.parent for path in faces.rglob(SETTINGS)}
        pictures = (path for path in faces.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        names = sorted(path.relative_to(faces).as_posix() for path in pictures if not lq_sets & set(path.parents))
    if not names:
        raise DataError(f"There is no picture to degrade in {mapping or faces}; check the folder and the split.")
    return list(dict.fromkeys(names))


def lq_name(name: str) -> str:
    """The file of an LQ set that belongs to a face."""
    return Path(name).with_suffix(".png").as_posix()


def seed_for(seed: int, name: str, purpose: str) -> int:
    """A seed of its own for each file and purpose: neither the order nor the other files matter."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()[:6])


def _claim(out: Path, settings: dict) -> None:
    path = out / SETTINGS
    if path.exists():
        if json.loads(path.read_text()) != settings:
            raise UsageError(f"{out} holds faces degraded with another seed or ranges; choose another folder.")
        return
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n")


def _parameters_before(out: Path) -> list[Row]:
    return read_table(out / PARAMETERS, ("file",)) if (out / PARAMETERS).exists() else []


def _text(degradation: Degradation) -> Row:
    return {key: f"{value:.4g}" for key, value in asdict(degradation).items()}
