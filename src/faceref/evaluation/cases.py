"""What is measured: targets with their references, checked before anything runs; what is left out is said by name."""

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.data.lq_set import seed_for
from faceref.data.mapping import ReferenceEntry, ReferenceMapping
from faceref.data.table import NO_TEXT, is_text, leads_out
from faceref.errors import DataError, printable
from faceref.journal import fingerprint
from faceref.people.graph import components
from faceref.pictures.aligned import FileState, inspect_face
from faceref.pictures.formats import PICTURE_SUFFIXES
from faceref.pictures.search import photos_below


@dataclass(frozen=True)
class Case:
    """One target photograph to restore: `name` is unique, `identity` the same for all photographs of one person."""

    name: str
    identity: str
    hq: Path
    references: tuple[Path, ...]
    lq: Path | None
    group: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A target, or one reference of it, that is not measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class CaseSet:
    """The cases in the order of the mapping, what was left out, and the photographs of every identity.

    contents: 16 hexadecimal digits of all that is in the files, LQ pictures among them.
    """

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...]
    photographs: dict[str, tuple[Path, ...]]
    contents: str

    @cached_property
    def narrowest_input(self) -> int:
        """Pixels of the least width of an LQ file. Raises ValueError if there are none."""
        return min(width_of(case.lq) for case in self.cases if case.lq is not None)

    def sample(self, limit: int | None, seed: int) -> tuple[Case, ...]:
        """At most `limit` cases: one of every identity, then a second of each, ...; all of them without a limit."""
        if limit is None or limit >= len(self.cases):
            return self.cases
        rng = np.random.default_rng(seed)
        taken: Counter[str] = Counter()
        turns = []
        for index in rng.permutation(len(self.cases)):
            identity = self.cases[index].identity
            turns.append((taken[identity], int(index)))
            taken[identity] += 1
        chosen = sorted(turns, key=lambda turn: turn[0])[:limit]  # stable: shuffled within a turn
        return tuple(self.cases[index] for index in sorted(index for _, index in chosen))

    def wrong_references(self, case: Case, count: int, seed: int) -> tuple[Path, ...]:
        """Photographs of another person, as many as the case itself has up to `count`; drawn by (seed, name).

        Raises DataError if there is only one identity.
        """
        others = {who: photos for who, photos in self.photographs.items() if who != case.identity}
        if not others:
            raise DataError("There is only one identity, so that nobody else's references can be shown")
        wanted = min(count, len(case.references))
        enough = [who for who, photos in others.items() if len(photos) >= wanted] or list(others)
        rng = np.random.default_rng(seed_for(seed, case.name, "wrong person"))
        photos = others[enough[rng.integers(len(enough))]]
        return tuple(photos[i] for i in rng.permutation(len(photos))[:wanted])


def width_of(path: Path) -> int:
    """Of a picture, pixels; nothing is decoded."""
    with Image.open(path) as image:
        return image.width


def load_cases(
    mapping: ReferenceMapping,
    hq: Path,
    lq: Path | None = None,
    *,
    with_references: bool = True,
    groups: dict[str, str] | None = None,
) -> CaseSet:
    """Check every photograph of a mapping and gather its cases.

    hq: folder the mapping's names are relative to; lq: folder of degraded targets, by the mapping's lq_image or else by
    the target's name with any suffix. Left out, with the reason: targets that are missing, unreadable, not square,
    listed twice, no text, without LQ, or (`with_references`) without a usable reference; references that are missing or
    unreadable, or that are the target itself, by name or by content. Raises DataError if no case is left.
    """
    if not len(mapping):
        reason = "The mapping lists no target, so that there is nothing to measure"
        raise DataError(reason, hint="give another one")
    for folder in (hq, lq):
        if folder is not None and not folder.is_dir():
            hint = "give the one that the names in the mapping are relative to"
            raise DataError("is not a folder", subject=folder, hint=hint)
    left_out = [LeftOut(printable(entry.gt_image), NO_TEXT) for entry in mapping if not is_text(entry.gt_image)]
    mapping = ReferenceMapping(
        tuple(
            replace(entry, ref_images=tuple(filter(is_text, entry.ref_images)))
            for entry in mapping
            if is_text(entry.gt_image)
        )
    )
    photos = sorted({name for entry in mapping for name in (entry.gt_image, *entry.ref_images)})
    with ThreadPoolExecutor() as pool:
        checked = dict(zip(photos, pool.map(lambda name: inspect_face(hq / name), photos), strict=True))
    low_quality = {} if lq is None else pictures_by_stem(lq)
    identities = _identities(mapping)
    cases: list[Case] = []
    outputs: dict[str, str] = {}  # name of the restored file -> target
    digests = [state.digest for state in checked.values()]
    for entry in mapping:
        name = entry.gt_image
        if leads_out(name):  # results are written below OUT by this name
            left_out.append(LeftOut(name, f"its name does not lie below {hq}: give names relative to that folder"))
            continue
        output = Path(name).with_suffix("").as_posix()
        if checked[name].problem:
            left_out.append(LeftOut(name, f"{hq / name} {checked[name].problem}"))
            continue
        if output in outputs:
            left_out.append(LeftOut(name, f"it has the same name as {outputs[output]}, which comes first"))
            continue
        outputs[output] = name
        lq_file, lq_state = (None, FileState()) if lq is None else _find_lq(lq, entry, low_quality)
        if lq_state.problem:
            left_out.append(LeftOut(name, lq_state.problem))
            continue
        digests.append(lq_state.digest)
        references, problems = _usable_references(entry, hq, checked)
        left_out += problems
        if with_references and not references:
            left_out.append(LeftOut(name, "it has no reference: no other usable photograph of this person"))
            continue
        cases.append(Case(name, identities[name], hq / name, references, lq_file, (groups or {}).get(name, "")))
    if not cases:
        why = f"; the first: {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise DataError(f"There is nothing to measure: {len(left_out)} photographs were left out{why}")
    gathered: dict[str, list[Path]] = defaultdict(list)
    for name in photos:
        if not checked[name].problem:
            gathered[identities[name]].append(hq / name)
    photographs = {who: tuple(paths) for who, paths in gathered.items()}
    return CaseSet(tuple(cases), tuple(left_out), photographs, fingerprint(digests))


def mapping_from_folders(hq: Path) -> ReferenceMapping:
    """All pictures in the folders below `hq`, each folder a person, the others in it the references of each.

    Raises DataError if there is no such folder with a picture in it.
    """
    entries = []
    for folder in sorted(path for path in hq.iterdir() if path.is_dir()) if hq.is_dir() else ():
        pictures = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
        names = [f"{folder.name}/{name}" for name in pictures if not name.startswith(".")]
        entries += [ReferenceEntry(name, tuple(other for other in names if other != name)) for name in names]
    if not entries:
        reason = "holds no folders of people with pictures in them"
        raise DataError(reason, subject=hq, hint="give a mapping or an index", code="no_people")
    return ReferenceMapping(tuple(entries))


def _usable_references(
    entry: ReferenceEntry, hq: Path, checked: dict[str, FileState]
) -> tuple[tuple[Path, ...], list[LeftOut]]:
    target = checked[entry.gt_image].digest
    usable, problems = [], []
    for name in dict.fromkeys(entry.ref_images):
        if checked[name].problem:
            problems.append(LeftOut(entry.gt_image, f"its reference {hq / name} {checked[name].problem}"))
        elif name == entry.gt_image or checked[name].digest == target:
            problems.append(LeftOut(entry.gt_image, f"its reference {name} is the target itself"))
        else:
            usable.append(hq / name)
    return tuple(usable), problems


def pictures_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Pictures below a folder by their relative name without suffix; links are followed."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(photos_below(folder, PICTURE_SUFFIXES)):
        found[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    return found


def _find_lq(folder: Path, entry: ReferenceEntry, by_stem: dict[str, list[Path]]) -> tuple[Path | None, FileState]:
    """The LQ picture of a target, and what was found of it; a problem tells the whole of it."""
    if entry.lq_image:
        candidates = [folder / entry.lq_image]
    else:
        candidates = by_stem.get(Path(entry.gt_image).with_suffix("").as_posix(), [])
    if not candidates:
        return None, FileState(problem=f"{folder} holds no LQ picture of that name")
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        return None, FileState(problem=f"{folder} holds two LQ pictures of that name ({names})")
    state = inspect_face(candidates[0])
    problem = state.problem and f"its LQ picture {candidates[0]} {state.problem}"
    return candidates[0], replace(state, problem=problem)


def _identities(mapping: ReferenceMapping) -> dict[str, str]:
    """Photograph -> identity, named by its first photograph: what the mapping connects is one person."""
    number: dict[str, int] = {}
    edges = []
    for entry in mapping:
        target = number.setdefault(entry.gt_image, len(number))
        edges += [(target, number.setdefault(name, len(number))) for name in entry.ref_images]
    names = list(number)
    labels = components(len(names), *np.array(edges, dtype=int).reshape(-1, 2).T).tolist()
    first: dict[int, str] = {}
    for name, label in zip(names, labels, strict=True):
        first.setdefault(label, name)
    return {name: first[label] for name, label in zip(names, labels, strict=True)}
