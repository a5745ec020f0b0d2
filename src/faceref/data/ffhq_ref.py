"""FFHQ-Ref as its authors released it: fetched, checked, and unpacked into the layout that `evaluate` reads.

It has the reference mappings, the splits and the degraded test images; the photographs themselves are FFHQ's.
"""

import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceref.consent import Licensed, accept, check_accepted
from faceref.download import Expected, Progress, obtain, sha256_of
from faceref.errors import CheckpointError, OutputError
from faceref.files import new_folder

RELEASE = "https://github.com/ChiWeiHsiao/ref-ldm/releases/download/0.1.0"
ARCHIVE = "FFHQ-Ref.zip"
# As another public program lists it; nobody has told us a digest.
SIZE = 446_546_859
FFHQ_REF = Licensed(
    "ffhq-ref",
    "0.1.0",
    "FFHQ-Ref is the work of the authors of ReF-LDM (https://github.com/ChiWeiHsiao/ref-ldm), made of photographs of "
    "FFHQ, and provided for non-commercial research only. Whoever downloads it agrees to that.",
)
ROOT = "FFHQ-Ref"  # the folder in the archive
SPLITS = ("train", "val", "test")
LISTS = tuple(
    [f"reference_mapping/{split}_references.csv" for split in SPLITS]
    + [f"id_based_ffhq_split/{split}_image.txt" for split in SPLITS]
)
LQ_SETS = ("test_images/severe_degrad", "test_images/moderate_degrad")


@dataclass(frozen=True)
class Unpacked:
    """What came: the archive's digest, and how many degraded test images of each set."""

    folder: Path
    sha256: str
    images: dict[str, int]


def download_ffhq_ref(
    folder: Path,
    home: Path,
    source: str = RELEASE,
    *,
    accept_licence: bool = False,
    sha256: str | None = None,
    on_progress: Progress = lambda *_: None,
) -> Unpacked:
    """Unpack FFHQ-Ref.zip of `source` into the new folder: all of it or nothing.

    source: a URL or a folder that has the archive. home: where it is remembered that the user agrees to the terms of
    `FFHQ_REF` (accept_licence). sha256: the archive's digest, checked instead of its size. A download that breaks off
    is gone on with the next time; until then it lies in `folder` with the ending .download.

    Raises UsageError if the licence was never accepted, OutputError if the download or the disk fails, CheckpointError
    if what came is not what it should be.
    """
    if accept_licence:
        accept(FFHQ_REF, home)
    check_accepted(FFHQ_REF, home)
    if folder.exists():
        raise OutputError("exists already", subject=folder, hint="remove it, or name another folder")
    downloads = folder.with_name(f"{folder.name}.download")
    expected = Expected(sha256, None if sha256 else SIZE)
    archive = obtain(ARCHIVE, source, downloads, expected, on_progress)
    digest = sha256_of(archive)
    try:
        unpack(archive, folder)
    except CheckpointError:
        shutil.rmtree(downloads, ignore_errors=True)  # not to be taken for a whole one the next time
        raise
    shutil.rmtree(downloads, ignore_errors=True)
    return Unpacked(folder, digest, {name: sum(1 for _ in (folder / name).iterdir()) for name in LQ_SETS})


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the six lists and the test images; whatever else lies in the archive is passed over.

    Raises CheckpointError if something of it is missing or damaged (every file has a checksum), OutputError.
    """
    try:
        with zipfile.ZipFile(archive) as packed, new_folder(folder) as scratch:
            members = _members(packed)
            lacking = [name for name in LISTS if name not in members]
            lacking += [name for name in LQ_SETS if not any(member.startswith(f"{name}/") for member in members)]
            if lacking:
                raise _damaged(archive, f"lacks {lacking[0]}")
            for name, member in members.items():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                with packed.open(member) as read, (scratch / name).open("wb") as write:
                    shutil.copyfileobj(read, write)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(archive, f"cannot be unpacked ({error})") from error


def _members(packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files that belong to the set, by their names in it: no other can be written, whatever the archive says."""
    members = {}
    for member in packed.infolist():
        path = PurePosixPath(member.filename)
        if member.is_dir() or path.parts[:1] != (ROOT,):
            continue
        name = path.relative_to(ROOT)
        if str(name) in LISTS or (str(name.parent) in LQ_SETS and not name.name.startswith(".")):
            members[str(name)] = member
    return members


def _damaged(archive: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"is not FFHQ-Ref: it {reason}", subject=archive, hint="download it again")
