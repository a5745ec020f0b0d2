"""From a tree of photographs to aligned faces with an index: every photograph ends as a face or in the report."""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from faceref.data.index import INDEX, Row, read_index, write_index, write_table
from faceref.errors import DataError, OutputError, PhotoError, UsageError
from faceref.faces.align import AlignedFace, align
from faceref.faces.detect import DlibDetector, Face
from faceref.files import write_atomically
from faceref.jobs import run
from faceref.pictures.output import is_marked_restored
from faceref.pictures.photo import PHOTO_SUFFIXES, find_photos, open_photo

JOURNAL = "align.jsonl"  # its first line says how OUT was made, each other line what became of one photograph
LEFT_OUT = "left_out.csv"
SHARPNESS_SIZE = 128  # pixels


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph: rows for the index, and (kind, reason) for what was left out of it."""

    photo: str
    bytes: int
    modified: int  # ns
    faces: list[Row] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


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
            outcome = Outcome(name, status.st_size, status.st_mtime_ns)
            photo = open_photo(path)
        except (OSError, PhotoError) as error:
            return Outcome(name, 0, 0, left_out=[("unreadable", str(error))])
        if is_marked_restored(path):
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
                outcome.left_out.append(("truncated", f"{path} is truncated through the face; use another copy of it"))
                continue
            file = Path(name).with_suffix("").as_posix() + (f"_{number}.png" if self.all_faces else ".png")
            with write_atomically(self.out / file) as temporary:
                _with_alpha(aligned).save(temporary, compress_level=1)
            outcome.faces.append({"file": file, **_measure(aligned, face), "source": name})
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
) -> AlignedTree:
    """Align every photograph below `photos` by FFHQ's rule to `size` px; faces, index.csv and left_out.csv go to `out`.

    The face that is taken is the largest, or all of them, then named NAME_1.png, NAME_2.png, ... from left to right.
    Alpha 0 marks padding. With `person_from_folder` the first folder below `photos` is the person's name. What an
    earlier run with the same settings did is not done again; persons and splits that index.csv holds are kept.

    Raises UsageError if `out` was made of another folder or with other settings, DataError if no photograph gives a
    face, OutputError.
    """
    settings = {"photos": str(photos.resolve()), "size": size, "all_faces": all_faces}
    done = _read_journal(out, settings)
    names, left_out = _photos(photos, out)
    outcomes = {name: done[name] for name in names if name in done and _still_valid(done[name], photos, out)}
    left = [name for name in names if name not in outcomes]
    with _open_journal(out, settings, outcomes) as journal:
        try:
            work = AlignWork(photos.absolute(), out.absolute(), size, all_faces)
            for outcome in run(work, left, workers=workers, ray=ray, description="aligning"):
                outcomes[outcome.photo] = outcome
                journal.write(json.dumps(asdict(outcome)) + "\n")
                journal.flush()
        finally:  # also when interrupted: the index then holds what there is
            rows = _index_rows(names, outcomes, out, person_from_folder)
            for name in (name for name in names if name in outcomes):
                left_out += [{"file": name, "kind": kind, "reason": reason} for kind, reason in outcomes[name].left_out]
            write_table(out / LEFT_OUT, ("file", "kind", "reason"), left_out)
            if rows:
                write_index(out, rows)
    if not rows:
        raise DataError(f"No photograph below {photos} gave a face; {out / LEFT_OUT} says why for each.")
    return AlignedTree(rows, left_out, len(left))


def _photos(folder: Path, out: Path) -> tuple[list[str], list[Row]]:
    """Names of the photographs to align, and those left out before: copies, and second files of one name."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one that holds the photographs.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{out} lies in {folder}, where its faces would be taken for photographs; choose another.")
    names = [path.relative_to(folder).as_posix() for path in find_photos([folder])]
    kept = set(names)
    left_out: list[Row] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and not hidden and name.as_posix() not in kept:
            reason = "its bytes are those of another photograph here"
            left_out.append({"file": name.as_posix(), "kind": "copy", "reason": reason})
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(Path(name).with_suffix("").as_posix(), name)
        if other != name:
            reason = f"its face would have the name of that of {other}, which comes first; rename one of them"
            left_out.append({"file": name, "kind": "same name", "reason": reason})
    return list(first.values()), left_out


def _read_journal(out: Path, settings: dict) -> dict[str, Outcome]:
    """What earlier runs did, by photograph; a last line that was cut off by a crash is passed over."""
    path = out / JOURNAL
    if not path.exists():
        return {}
    done: dict[str, Outcome] = {}
    first, *lines = path.read_text(encoding="utf-8").splitlines() or ["{}"]
    if json.loads(first) != settings:
        raise UsageError(
            f"{out} was made of other photographs or with other settings ({first}); choose another folder, or those."
        )
    for line in lines:
        with suppress(ValueError):
            outcome = Outcome(**json.loads(line))
            done[outcome.photo] = outcome
    return done


def _open_journal(out: Path, settings: dict, outcomes: dict[str, Outcome]):
    """The journal, written anew with what still holds, open for more."""
    with write_atomically(out / JOURNAL) as temporary:
        lines = [json.dumps(settings), *(json.dumps(asdict(outcome)) for outcome in outcomes.values())]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        return (out / JOURNAL).open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out / JOURNAL} cannot be written ({error.strerror}); choose another folder.") from error


def _still_valid(outcome: Outcome, photos: Path, out: Path) -> bool:
    status = (photos / outcome.photo).stat()
    return (outcome.bytes, outcome.modified) == (status.st_size, status.st_mtime_ns) and all(
        (out / row["file"]).exists() for row in outcome.faces
    )


def _index_rows(names: list[str], outcomes: dict[str, Outcome], out: Path, person_from_folder: bool) -> list[Row]:
    """Rows of the index; person, split and foreign columns as index.csv has them, and its rows of what is still due."""
    before = {row["file"]: row for row in read_index(out)} if (out / INDEX).exists() else {}
    of_photo: dict[str, list[Row]] = defaultdict(list)
    for row in before.values():
        of_photo[row.get("source", "")].append(row)
    rows = []
    for name in names:
        if name not in outcomes:
            rows += of_photo[name]
            continue
        folders = Path(name).parts[:-1]
        person = folders[0] if person_from_folder and folders else ""
        for face in outcomes[name].faces:
            kept = before.get(face["file"], {})
            known = {"person": kept.get("person") or person, "split": kept.get("split", "")}
            rows.append({**kept, **face, **known})
    return rows


def _measure(aligned: AlignedFace, face: Face) -> Row:
    """What the index says of a face; see the comments at its columns."""
    points = face.landmarks
    left_eye, right_eye = points[36:42].mean(0), points[42:48].mean(0)
    to_jaw = np.linalg.norm(points[[0, 16]] - points[30], axis=1)  # [2]: from the tip of the nose to both ends
    pixels, inside = np.asarray(aligned.image), aligned.mask > 0
    red, green, blue = np.moveaxis(pixels[inside].astype(float), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    return {
        "ffhq_side_px": str(round(aligned.alignment.side)),
        "eyes_px": f"{np.linalg.norm(right_eye - left_eye):.1f}",
        "outside": f"{1 - inside.mean():.3f}",
        "sharpness": f"{_sharpness(pixels, aligned.alignment.to_crop(points)):.0f}",
        "yaw": f"{abs(to_jaw[0] - to_jaw[1]) / to_jaw.sum():.2f}",
        "colourfulness": f"{np.linalg.norm(opponents.std(1)) + 0.3 * np.linalg.norm(opponents.mean(1)):.1f}",
    }


def _sharpness(pixels: np.ndarray, landmarks: np.ndarray) -> float:
    """As the metric of that name: within the hull of the landmarks, at 128 px."""
    size = (SHARPNESS_SIZE, SHARPNESS_SIZE)
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    hull = cv2.convexHull((landmarks * SHARPNESS_SIZE / len(pixels)).round().astype(np.int32))
    region = cv2.fillConvexPoly(np.zeros(size, np.uint8), hull, 1)
    return float(cv2.Laplacian(grey.astype(np.float64), cv2.CV_64F)[region > 0].var())


def _with_alpha(aligned: AlignedFace) -> Image.Image:
    if aligned.mask.all():
        return aligned.image
    picture = aligned.image.copy()
    picture.putalpha(Image.fromarray(aligned.mask))
    return picture
