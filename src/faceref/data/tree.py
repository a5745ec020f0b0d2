"""From a tree of photographs to aligned faces with an index: every photograph ends as a face or in the report."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from faceref.data.index import INDEX, measure_face, read_index, write_index
from faceref.data.table import NO_TEXT, Row, is_text, write_table
from faceref.errors import DataError, PhotoError, UsageError, printable
from faceref.faces.align import AlignedFace, align
from faceref.faces.detect import DlibDetector
from faceref.files import write_atomically
from faceref.jobs import OnItem, run
from faceref.journal import claim
from faceref.pictures.photo import open_photo
from faceref.pictures.search import distinct, list_photos, photo_digest

JOURNAL = "align.jsonl"  # what became of each photograph
LEFT_OUT = "left_out.csv"


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph: rows for the index, and (kind, reason) for what was left out of it."""

    photo: str
    bytes: int
    modified: int  # ns
    faces: list[Row] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    digest: str = ""  # of its bytes; earlier versions did not note it

    def is_of_the_bytes_of(self, other: "Outcome") -> bool:
        """Whether both are of one photograph; where only sizes are known, by these."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return self.bytes == other.bytes


@dataclass(frozen=True)
class AlignedTree:
    """All faces of OUT/index.csv, what is in OUT/left_out.csv (file, kind, reason), and how many were new."""

    rows: list[Row]
    left_out: list[Row]
    new: int


@dataclass(frozen=True)
class AlignWork:
    """Finds and aligns the faces of one photograph, named relative to `photos`, and writes them below `out`."""

    photos: Path
    out: Path
    size: int
    all_faces: bool

    def start(self) -> Callable[[str], Outcome]:
        detector = DlibDetector()
        return lambda name: self._align(name, detector)

    def _align(self, name: str, detector: DlibDetector) -> Outcome:
        path = self.photos / name
        try:
            status = path.stat()
            outcome = Outcome(name, status.st_size, status.st_mtime_ns, digest=photo_digest(path))
            photo = open_photo(path)
        except (OSError, PhotoError) as error:
            return Outcome(name, 0, 0, left_out=[("unreadable", str(error))])
        if photo.restored:
            outcome.left_out.append(("restored", "it is a restored picture, not a photograph"))
            return outcome
        faces = detector.detect(photo.image)
        if not faces:
            outcome.left_out.append(("no face", "no face was found in it"))
        elif not self.all_faces and len(faces) > 1:
            outcome.left_out.append(("smaller face", f"{len(faces) - 1} besides the largest; --all-faces takes them"))
        faces = sorted(faces, key=lambda face: face.box[0]) if self.all_faces else faces[:1]
        for number, face in enumerate(faces, start=1):
            aligned = align(photo.image, face.landmarks, self.size)
            corners = np.concatenate([aligned.alignment.quad.min(0), aligned.alignment.quad.max(0)])
            if not photo.is_readable((corners[0], corners[1], corners[2], corners[3])):
                reason = f"{printable(path)} is truncated through the face; use another copy of it"
                outcome.left_out.append(("truncated", reason))
                continue
            file = Path(name).with_suffix("").as_posix() + (f"_{number}.png" if self.all_faces else ".png")
            with write_atomically(self.out / file) as temporary:
                _with_alpha(aligned).save(temporary, compress_level=1)
            outcome.faces.append({"file": file, **measure_face(aligned, face), "source": name})
        return outcome


def align_tree(
    photos: Path,
    out: Path,
    *,
    size: int = 512,
    all_faces: bool = False,
    person_from_folder: bool = False,
    workers: int = 1,
    ray: bool = False,
    on_photo: OnItem = lambda *_: None,
) -> AlignedTree:
    """Align every photograph below `photos` by FFHQ's rule to `size` px; faces, index.csv and left_out.csv go to `out`.

    The face that is taken is the largest, or all of them, then named NAME_1.png, NAME_2.png, ... from left to right.
    Alpha 0 marks padding. With `person_from_folder` the first folder below `photos` is the person's name. What an
    earlier run with the same settings did is not done again; persons and splits that index.csv holds are kept, but for
    photographs in whose place there is another now. Faces of photographs that are there no more are removed.

    Raises UsageError if `out` was made of another folder or with other settings, DataError if no photograph gives a
    face, OutputError.
    """
    names, left_out = _photos(photos, out)
    with claim(out / JOURNAL, {"photos": str(photos.resolve()), "size": size, "all_faces": all_faces}) as journal:
        before = {name: Outcome(**outcome) for name, outcome in journal.done.items() if outcome is not None}
        outcomes = {name: before[name] for name in names if name in before and _still_valid(before[name], photos, out)}
        left = [name for name in names if name not in outcomes]
        in_place_of_others: list[Outcome] = []  # of which the index says who was on those, so that it has to be first
        try:
            work = AlignWork(photos.absolute(), out.absolute(), size, all_faces)
            for outcome in run(work, left, workers=workers, ray=ray, on_item=on_photo):
                outcomes[outcome.photo] = outcome
                known = before.get(outcome.photo)
                if known is None or outcome.is_of_the_bytes_of(known):
                    journal.record(outcome.photo, asdict(outcome))
                else:
                    in_place_of_others.append(outcome)
        finally:  # also when interrupted: the index then holds what there is
            rows = _index_rows(names, before, outcomes, out, person_from_folder)
            for name in (name for name in names if name in outcomes):
                left_out += [{"file": name, "kind": kind, "reason": reason} for kind, reason in outcomes[name].left_out]
            write_table(out / LEFT_OUT, ("file", "kind", "reason"), left_out)
            if rows:
                write_index(out, rows)
            for outcome in in_place_of_others:
                journal.record(outcome.photo, asdict(outcome))
        if not rows:
            raise DataError(f"No photograph below {photos} gave a face; {out / LEFT_OUT} says why for each")
        _remove_faces(out, before, outcomes)
        for name in before.keys() - outcomes.keys():
            journal.record(name, None)
    return AlignedTree(rows, left_out, len(left))


def _photos(folder: Path, out: Path) -> tuple[list[str], list[Row]]:
    """Names of the photographs to align, and those left out before.

    That are copies, second files of one name, and names that are no text, which no table can hold.
    """
    if not folder.is_dir():
        raise DataError("is not a folder", subject=folder, hint="give the one that holds the photographs")
    if out.resolve().is_relative_to(folder.resolve()):
        reason = f"lies in {folder}, where its faces would be taken for photographs"
        raise UsageError(reason, subject=out, hint="choose another")
    found = {path: path.relative_to(folder).as_posix() for path in list_photos([folder])}
    no_text = {"kind": "unreadable", "reason": NO_TEXT}
    left_out = [{"file": printable(name)} | no_text for name in found.values() if not is_text(name)]
    photographs = [path for path, name in found.items() if is_text(name)]
    taken = distinct(photographs)
    names = [found[path] for path in taken]
    copy = {"kind": "copy", "reason": "its bytes are those of another photograph here"}
    left_out += [{"file": found[path]} | copy for path in sorted({*photographs} - {*taken})]
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(Path(name).with_suffix("").as_posix(), name)
        if other != name:
            reason = f"its face would have the name of that of {other}, which comes first; rename one of them"
            left_out.append({"file": name, "kind": "same name", "reason": reason})
    return list(first.values()), left_out


def _still_valid(outcome: Outcome, photos: Path, out: Path) -> bool:
    try:
        status = (photos / outcome.photo).stat()
    except OSError:  # a link to nothing
        return False
    return (outcome.bytes, outcome.modified) == (status.st_size, status.st_mtime_ns) and all(
        (out / row["file"]).exists() for row in outcome.faces
    )


def _remove_faces(out: Path, before: dict[str, Outcome], now: dict[str, Outcome]) -> None:
    """Remove the faces of earlier runs that none of today's photographs gave."""
    made, kept = ({row["file"] for one in outcomes.values() for row in one.faces} for outcomes in (before, now))
    for file in made - kept:
        (out / file).unlink(missing_ok=True)


def _index_rows(
    names: list[str], before: dict[str, Outcome], outcomes: dict[str, Outcome], out: Path, person_from_folder: bool
) -> list[Row]:
    """Rows of the index; person, split and foreign columns as index.csv has them, and its rows of what is still due.

    before, outcomes: of earlier runs and of today. What is known of another photograph is not said of a face.
    """
    known_rows = {row["file"]: row for row in read_index(out)} if (out / INDEX).exists() else {}
    of_photo: dict[str, list[Row]] = defaultdict(list)
    for row in known_rows.values():
        of_photo[row.get("source", "")].append(row)
    rows = []
    for name in names:
        if name not in outcomes:
            rows += of_photo[name]
            continue
        folders = Path(name).parts[:-1]
        person = folders[0] if person_from_folder and folders else ""
        for face in outcomes[name].faces:
            kept = known_rows.get(face["file"], {})
            source = before.get(kept.get("source", ""))
            if source is not None and not outcomes[name].is_of_the_bytes_of(source):
                kept = {}
            known = {"person": kept.get("person") or person, "split": kept.get("split", "")}
            rows.append({**kept, **face, **known})
    return rows


def _with_alpha(aligned: AlignedFace) -> Image.Image:
    if aligned.mask.all():
        return aligned.image
    picture = aligned.image.copy()
    picture.putalpha(Image.fromarray(aligned.mask))
    return picture
