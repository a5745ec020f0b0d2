"""Folders of pictures that another program has restored, measured beside the models on the same faces."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceref.errors import DataError, UsageError
from faceref.evaluation.cases import Case, CaseSet, pictures_by_stem
from faceref.evaluation.conditions import ELSEWHERE, Condition, Plan
from faceref.evaluation.faces import read_face
from faceref.evaluation.pictures import to_tensor
from faceref.evaluation.restorer import Batch, MeasuredRestorer, Restoration
from faceref.journal import fingerprint
from faceref.pictures.aligned import inspect_face

WRITE = "write NAME=FOLDER, as in gfpgan=restored/gfpgan"


@dataclass(frozen=True)
class RestoredSpec:
    """A folder of restored pictures and what the table calls it, as in `gfpgan=restored/gfpgan`."""

    label: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "RestoredSpec":
        """Read NAME=FOLDER. Raises UsageError if it is not that."""
        label, _, folder = text.partition("=")
        if not label or not folder:
            raise UsageError("names no folder of restored pictures", subject=repr(text), hint=WRITE)
        return cls(label, Path(folder))


@dataclass(frozen=True, eq=False)
class RestoredElsewhere(MeasuredRestorer):
    """What another program made of every case, on disk.

    files: of every set the restored picture of each case, by its name. side: of the smallest of them, in pixels. size:
    the side at which it is measured. digest: of all that is in them.
    """

    label: str
    files: Mapping[str, Mapping[str, Path]]
    side: int
    size: int
    digest: str

    @property
    def settings(self) -> dict[str, str | float]:
        return {"restored pictures": self.digest}

    @property
    def notes(self) -> tuple[str, ...]:
        shrunk = f" at {self.side} px, brought to {self.size} px as the truth is" if self.side != self.size else ""
        return (f"{self.label}: restored elsewhere{shrunk}; from what, and how long it took, is not known here",)

    def conditions(self, plan: Plan) -> tuple[Condition, ...]:
        return (ELSEWHERE,)

    def restorations(self, plan: Plan, batch: Batch) -> Iterator[Restoration]:
        for set_name in batch.lq:
            files = self.files[set_name]
            pixels = np.stack([read_face(files[name], self.size).pixels for name in batch.names])
            yield Restoration(set_name, ELSEWHERE, to_tensor(pixels), np.full(len(pixels), np.nan))


def load_restored(
    spec: RestoredSpec, sets: Sequence[str], cases: CaseSet, chosen: Sequence[Case], size: int | None
) -> RestoredElsewhere:
    """Find and check the restored picture of every chosen case, by the target's name with any suffix.

    Of several sets each lies in a folder of its name, of one it may. size: at which the pictures are measured; None:
    at that of the smallest. Raises DataError if a folder or picture is missing, damaged, not square or smaller than
    `size`, if there are two of a name, or one that belongs to no target.
    """
    files = {name: _files_of_set(_folder_of_set(spec, name, sets), cases, chosen) for name in sets}
    paths = [path for of_set in files.values() for path in of_set.values()]
    with ThreadPoolExecutor() as pool:
        states = list(pool.map(inspect_face, paths))
    for path, state in zip(paths, states, strict=True):
        if state.problem:
            raise DataError(state.problem, subject=path, hint="restore it again")
        if size is not None and state.side < size:
            reason = f"is {state.side} px wide, and all is measured at {size} px"
            raise DataError(reason, subject=path, hint="give pictures of that size or larger")
    side = min(state.side for state in states)
    return RestoredElsewhere(spec.label, files, side, size or side, fingerprint([state.digest for state in states]))


def _folder_of_set(spec: RestoredSpec, set_name: str, sets: Sequence[str]) -> Path:
    own = spec.folder / set_name
    folder = own if len(sets) > 1 or own.is_dir() else spec.folder
    if not folder.is_dir():
        hint = f"put what {spec.label} made of the set {set_name} there"
        raise DataError("is not a folder", subject=folder, hint=hint)
    return folder


def _files_of_set(folder: Path, cases: CaseSet, chosen: Sequence[Case]) -> dict[str, Path]:
    """The restored picture of every chosen case."""
    found = pictures_by_stem(folder)
    known = {_stem(name) for name in (*(case.name for case in cases.cases), *(one.name for one in cases.left_out))}
    wanted = {case.name: found.get(_stem(case.name), []) for case in chosen}
    if missing := [name for name, paths in wanted.items() if not paths]:
        reason = f"lacks {len(missing)} of {len(chosen)} pictures, of {missing[0]} first"
        raise DataError(reason, subject=folder, hint="name each restored picture as its target, with any suffix")
    if foreign := [paths[0] for stem, paths in found.items() if stem not in known]:
        reason = f"holds {len(foreign)} that belong to no target, {foreign[0].relative_to(folder)} first"
        raise DataError(reason, subject=folder, hint="leave only the restored pictures of these targets there")
    if twice := next((paths for paths in wanted.values() if len(paths) > 1), None):
        reason = f"holds two pictures of one name ({', '.join(path.name for path in twice)})"
        raise DataError(reason, subject=folder, hint="leave one of them")
    return {name: paths[0] for name, paths in wanted.items()}


def _stem(name: str) -> str:
    return Path(name).with_suffix("").as_posix()
