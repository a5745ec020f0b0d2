"""What was seen in photographs, remembered between runs: a database in the user's cache folder, by the files' bytes.

Nothing is written into an album. A file that was moved or renamed is known by its bytes; one whose path, size and time
of change are as before is not read at all. What was seen depends on who looked: that is part of the key.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import platformdirs

from faceref.errors import printable
from faceref.faces.detect import Face
from faceref.people.database import Database, Tables
from faceref.people.seen import Seen, SeenFace
from faceref.people.traits import Traits

FILE = "albums.sqlite"
TABLES = Tables(
    what="an index of albums",
    version=4,
    statements="""
CREATE TABLE file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, digest TEXT NOT NULL
) STRICT;
CREATE TABLE photograph (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL, seen_by TEXT NOT NULL, pixels TEXT NOT NULL, ours INTEGER NOT NULL,
    UNIQUE (digest, seen_by)
) STRICT;
CREATE TABLE face (
    photograph INTEGER NOT NULL REFERENCES photograph ON DELETE CASCADE, box BLOB NOT NULL, landmarks BLOB NOT NULL,
    confidence REAL NOT NULL, found_by TEXT NOT NULL, embedding BLOB NOT NULL, probe BLOB NOT NULL,
    score REAL NOT NULL, side REAL NOT NULL, whole INTEGER NOT NULL, traits BLOB NOT NULL
) STRICT;
CREATE INDEX face_of ON face (photograph);
""",
    damaged="remove it, it is made again",
)
COLUMNS = "box, landmarks, confidence, found_by, embedding, probe, score, side, whole, traits"  # of a face


@dataclass(frozen=True)
class Stamp:
    """What tells without reading it that a file is the one of before: size in bytes, time of its last change in ns.

    Programs that turn a photograph, or write into its EXIF, may leave its size and set back its time of modification;
    the system's own time of change is set by nobody.
    """

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Raises OSError."""
        found = path.stat()
        return cls(found.st_size, max(found.st_mtime_ns, found.st_ctime_ns))


class AlbumIndex:
    """The index of a folder. Threads and processes may share it."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """folder: by default the one that the system has for what faceref can make again."""
        self.path = (Path(folder) if folder is not None else platformdirs.user_cache_path("faceref")) / FILE
        self._database = Database(self.path, TABLES)

    def digests(self, stamps: dict[Path, Stamp]) -> dict[Path, str]:
        """Digests of the bytes of those files that are as they were."""
        names = {_key(path): path for path in stamps}
        with self._database.opened() as rows:
            found = rows.execute(
                "SELECT path, size, modified, digest FROM file WHERE path IN (SELECT value FROM json_each(?))",
                (json.dumps(list(names)),),
            ).fetchall()
        return {
            names[path]: digest
            for path, size, modified, digest in found
            if stamps[names[path]] == Stamp(size, modified)
        }

    def seen(self, digests: Sequence[str], seen_by: str) -> dict[str, Seen]:
        """By digest what was seen in those photographs that are known.

        seen_by: who looked, in words that anybody who sees otherwise has others for.
        """
        wanted = "FROM photograph WHERE digest IN (SELECT value FROM json_each(?)) AND seen_by = ?"
        values = (json.dumps(list(digests)), seen_by)
        with self._database.opened() as rows:
            rows.execute("BEGIN")  # one state of the file for both
            photographs = rows.execute(f"SELECT id, digest, pixels, ours {wanted}", values).fetchall()
            found = rows.execute(
                f"SELECT photograph, {COLUMNS} FROM face JOIN (SELECT id {wanted}) ON id = photograph "
                "ORDER BY face.rowid",
                values,
            ).fetchall()
            rows.commit()
            faces: dict[int, list[SeenFace]] = {}
            for photograph, *row in found:
                faces.setdefault(photograph, []).append(_face(*row))
        return {
            digest: Seen(pixels, bool(ours), tuple(faces.get(key, ()))) for key, digest, pixels, ours in photographs
        }

    def remember(self, path: Path, stamp: Stamp, digest: str, seen: Seen | None, seen_by: str) -> None:
        """Keep what a file is, and what was seen in it (None: known already). Whole or not at all."""
        with self._database.writing() as rows:
            file = (_key(path), stamp.size, stamp.modified, digest)
            rows.execute("INSERT OR REPLACE INTO file (path, size, modified, digest) VALUES (?, ?, ?, ?)", file)
            if seen is not None:
                _insert(rows, digest, seen, seen_by)

    def clear(self) -> int:
        """Forget everything that was seen, and where; how many photographs that were. Nothing is left in the file."""
        if not self.path.exists():
            return 0
        with self._database.writing() as rows:
            (count,) = rows.execute("SELECT count(DISTINCT digest) FROM photograph").fetchone()
            rows.execute("DELETE FROM photograph")  # and their faces
            rows.execute("DELETE FROM file")
        self._database.overwrite_log()
        return count


def _key(path: Path) -> str:
    """A path as text that any database takes."""
    return printable(path.absolute())


def _insert(rows: sqlite3.Connection, digest: str, seen: Seen, seen_by: str) -> None:
    """Unless another process was faster."""
    inserted = rows.execute(
        "INSERT OR IGNORE INTO photograph (digest, seen_by, pixels, ours) VALUES (?, ?, ?, ?) RETURNING id",
        (digest, seen_by, seen.pixels, int(seen.ours)),
    ).fetchone()
    if inserted is not None:
        rows.executemany(
            f"INSERT INTO face (photograph, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*inserted, *_columns(face)) for face in seen.faces],
        )


def _columns(face: SeenFace) -> tuple[bytes | float | str, ...]:
    place = face.place
    return (
        np.asarray(place.box, "<f8").tobytes(),
        place.landmarks.astype("<f4").tobytes(),
        float(place.score),
        place.detector,
        face.embedding.astype("<f4").tobytes(),
        face.probe.astype("<f4").tobytes(),
        float(face.score),
        float(face.side),
        int(face.whole),
        np.array(astuple(face.traits), "<f8").tobytes(),
    )


def _face(
    box: bytes,
    landmarks: bytes,
    confidence: float,
    detector: str,
    embedding: bytes,
    probe: bytes,
    score: float,
    side: float,
    whole: int,
    traits: bytes,
) -> SeenFace:
    """Raises ValueError for what was not written here; the database says that it is damaged."""
    left, top, right, bottom = np.frombuffer(box, "<f8").tolist()
    points = np.frombuffer(landmarks, "<f4").astype(np.float32).reshape(68, 2)
    place = Face((left, top, right, bottom), points, confidence, detector)
    known = Traits(*np.frombuffer(traits, "<f8").reshape(5).tolist())
    known_by, probed = (np.frombuffer(vector, "<f4").astype(np.float32) for vector in (embedding, probe))
    return SeenFace(place, known_by, probed, score, side, bool(whole), known)
